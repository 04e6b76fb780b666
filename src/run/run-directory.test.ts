import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { createRunObserver } from './observer.js';
import { createProgress } from './progress.js';
import type { RunSummary } from './records.js';
import { createRunDirectory, openRunDirectory } from './run-directory.js';

let output: string;
beforeEach(async () => {
  output = join(await mkdtemp(join(tmpdir(), 'pmpo-run-')), 'runs');
});
afterEach(() => rm(join(output, '..'), { recursive: true, force: true }));

const summary: RunSummary = {
  operator: 'pmpo',
  feedback: 'top-k',
  environment: 'cartpole_swingup',
  seed: 0,
  steps: 100,
  stepUnit: 'environment steps',
  updates: 50,
  wallSeconds: 1.5,
  evaluation: { scoreName: 'return', scoreCount: 2, meanScore: 800, stdScore: 10 },
};

describe('run directories', () => {
  it('takes the next free name, also when several runs start at once', async () => {
    const made = await Promise.all(Array.from({ length: 4 }, () => createRunDirectory(output, 'cartpole')));
    expect(made.map(({ name }) => name).sort()).toEqual([
      'cartpole',
      'cartpole-2',
      'cartpole-3',
      'cartpole-4',
    ]);
  });

  it('explains why a folder cannot be made', async () => {
    await writeFile(`${output}`, 'a file');
    await expect(createRunDirectory(output, 'x')).rejects.toThrow(`${output}: making it failed`);
  });

  it('reads back everything that a run writes', async () => {
    const { path, files } = await createRunDirectory(output, 'x');
    const directory = await openRunDirectory(path).catch((error: unknown) => error);
    expect(directory).toBeInstanceOf(PmpoError);
    const fresh = await createRunDirectory(output, 'y');
    await fresh.writeConfig('seed: 3\n');
    await fresh.writePolicy(new Uint8Array([1]));
    await fresh.writeReport('<!doctype html>');
    const opened = await openRunDirectory(fresh.path);
    expect(opened.name).toBe('y');
    expect(await opened.readConfig()).toBe('seed: 3\n');
    expect(await opened.readSummary('control')).toBeUndefined();
    await opened.writeSummary(summary);
    expect(await opened.readSummary('control')).toEqual(summary);
    expect((await readdir(fresh.path)).sort()).toEqual([
      'config.yaml',
      'policy.onnx',
      'report.html',
      'summary.json',
    ]);
    await writeFile(opened.files.summary, '{');
    await expect(opened.readSummary('control')).rejects.toThrow('summary.json: it is not JSON');
    expect(files.checkpoints).toBe(join(path, 'checkpoints'));
  });

  it.each([
    ['nowhere', 'there is no such folder'],
    ['file', 'it is a file, not the folder of a run'],
    ['.', 'it has no config.yaml. Give the folder of a run'],
  ])('explains what is wrong with %s', async (name, message) => {
    await createRunDirectory(output, 'x');
    await writeFile(join(output, 'file'), '');
    await expect(openRunDirectory(join(output, name))).rejects.toThrow(message);
  });
});

describe('createRunObserver', () => {
  it('saves checkpoints with the position of the records, and keeps the given number of them', async () => {
    const directory = await createRunDirectory(output, 'x');
    const records = directory.openRecords();
    const progress = createProgress({ mode: 'json', total: { totalSteps: 30 }, stdout: new PassThrough() });
    const observer = createRunObserver({ directory, records, progress, keep: 2 });
    for (const steps of [10, 20, 30]) {
      const at = { steps, stepUnit: 'environment steps', updates: 1, wallSeconds: 1 } as const;
      observer.metrics({ ...at, values: { 'policy/loss': 1 } });
      observer.evaluation({ ...at, scoreName: 'return', scores: [1, 2] });
      observer.notice('noted');
      await observer.checkpoint(steps, { tensors: {}, metadata: { steps } });
    }
    const end = records.position();
    records.close();
    expect(await directory.checkpoints.list()).toEqual([20, 30]);
    const loaded = await directory.checkpoints.load();
    expect(loaded.checkpoint.metadata).toEqual({ steps: 30 });
    expect(loaded.records).toEqual(end);
  });
});
