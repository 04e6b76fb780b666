import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticComparison, writeSyntheticRun } from '../../test/report/synthetic-run.js';
import type { RunData } from '../report/run-data.js';
import { joinReport, labelRuns } from './join-report.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-join-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const run = (name: string, operator: string, seed: number, settings: object = {}): RunData => ({
  name,
  label: operator,
  operator,
  feedback: 'top-k',
  kind: 'control',
  environment: 'cartpole',
  seed,
  status: 'finished',
  config: '',
  settings: { seed, operator: { name: operator, ...settings } },
  metrics: [],
  evaluations: [],
  notices: [],
});
const labels = (runs: readonly RunData[]) => labelRuns(runs).map(({ label }) => label);

describe('labelRuns', () => {
  it('takes runs that differ in their seed alone for seeds of one operator', () => {
    expect(labels([run('a', 'pmpo', 0), run('b', 'pmpo', 1), run('c', 'mpo', 0)])).toEqual([
      'pmpo',
      'pmpo',
      'mpo',
    ]);
  });

  it('tells runs of one operator apart by the settings that differ', () => {
    const runs = [run('a', 'pmpo', 0, { alpha: 0.5 }), run('b', 'pmpo', 0, { alpha: 1 }), run('c', 'mpo', 0)];
    expect(labels(runs)).toEqual(['pmpo, alpha=0.5', 'pmpo, alpha=1', 'mpo']);
    const many = { a: 1, b: 1, c: 1, d: 1 };
    expect(labels([run('x-seed0', 'pmpo', 0), run('y-seed0', 'pmpo', 0, many)])).toEqual([
      'pmpo, x',
      'pmpo, y',
    ]);
    // As a second run of one task and operator is named.
    expect(labels([run('x-seed0', 'pmpo', 0), run('x-seed0-2', 'pmpo', 0, many)])).toEqual([
      'pmpo, x-seed0',
      'pmpo, x-seed0-2',
    ]);
  });
});

describe('joinReport', () => {
  it('joins runs and comparisons in one page', async () => {
    await writeSyntheticComparison(join(folder, 'compare'));
    const single = await writeSyntheticRun(folder, {
      operator: 'kto',
      seed: 9,
      plateau: 300,
      halfway: 50_000,
    });
    const output = join(folder, 'joined.html');
    const runs = await joinReport({
      folders: [
        join(folder, 'compare'),
        single,
        `${single}/`,
        join(folder, 'compare', '..', basename(single)),
      ],
      output,
      title: 'Joined',
      command: 'pmpo report',
    });
    expect(runs).toHaveLength(10);
    const html = await readFile(output, 'utf8');
    for (const text of ['<h1>Joined</h1>', 'Comparison of 4 operators, 10 runs', 'Settings that differ'])
      expect(html.includes(text), text).toBe(true);
  });

  it('refuses a folder without runs, in one line', async () => {
    const options = { output: join(folder, 'x.html'), command: 'pmpo report' };
    await expect(
      joinReport({ folders: [await mkdtemp(join(folder, 'empty-'))], ...options }),
    ).rejects.toThrow(/it is not the folder of a run, and has none in it\. Give folders of runs/);
  });
});
