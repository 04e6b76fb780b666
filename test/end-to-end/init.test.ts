import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt, projectRoot, run, temporaryFolder } from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const at = (...names: string[]) => join(folder.path, ...names);

describe('pmpo init', () => {
  test('writes a configuration for a simulator, with its specs, that trains as it is', async () => {
    const file = at('reacher.yaml');
    const made = await run(['init', file, '--simulator', 'reacher']);
    expect(made.code, made.stderr).toBe(0);
    const text = await readFile(file, 'utf8');
    expect(text).toContain('# The policy sees 6 numbers and chooses 2:');
    expect(text).toContain('#   action [2]: -1 to 1');
    const short = ['environmentSteps=64', 'warmupSteps=16', 'batchSize=8'].flatMap((setting) => [
      '--set',
      `learner.${setting}`,
    ]);
    const trained = await run(['train', file, '--output', at('runs'), ...short]);
    expect(trained.code, trained.stderr).toBe(0);
  });

  test('writes a configuration for a data set, from what it holds', async () => {
    const rows = [0, 1, 2].map((i) => JSON.stringify({ prompt: `p${i}`, completion: ' c', label: false }));
    await writeFile(at('rejected.jsonl'), rows.join('\n'));
    const made = await run(['init', at('rejected.yaml'), '--dataset', at('rejected.jsonl')]);
    expect(made.code, made.stderr).toBe(0);
    const text = await readFile(at('rejected.yaml'), 'utf8');
    expect(text).toMatch(/# .*rejected\.jsonl: read as .*0 accepted and 3 rejected completions/);
    expect(text).toContain('file: "rejected.jsonl"');
    expect(text).toContain('operator: { name: pmpo, alpha: 0 }');
  });

  test.each([
    [['--simulator', 'reachr'], "Did you mean 'reacher'?"],
    [['--address', '127.0.0.1:1'], 'no server answers there'],
    [['--dataset', 'no-such-file.jsonl'], 'no-such-file.jsonl'],
    [['--dataset', 'a.jsonl', '--simulator', 'reacher'], 'and not for both'],
    [[], 'Give --simulator NAME, --address HOST:PORT or --dataset FILE'],
  ])('with %j refuses in one line and writes nothing', async (options, reason) => {
    const { code, stderr } = await run(['init', at('none.yaml'), ...options]);
    expect(stderr).toContain(reason);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).not.toBe(0);
    await expect(readFile(at('none.yaml'))).rejects.toThrow();
  });

  test('replaces no file', async () => {
    await writeFile(at('mine.yaml'), 'mine');
    const { code, stderr } = await run(['init', at('mine.yaml'), '--simulator', 'reacher']);
    expect(stderr).toMatch(/mine\.yaml: the file is there already/);
    expect(code).toBe(2);
    expect(await readFile(at('mine.yaml'), 'utf8')).toBe('mine');
  });
});

describe('pmpo new plugin', () => {
  test('writes a classifier whose test passes, and which a configuration can name', async () => {
    // Below the clone, where `pmpo` is found, as below a project that has it in node_modules.
    const place = await mkdtemp(join(projectRoot, 'test/new-plugin-'));
    try {
      const made = await run(['new', 'plugin', join(place, 'far-ahead')]);
      expect(made.code, made.stderr).toBe(0);
      const tested = spawnSync(process.execPath, ['--test', join(place, 'far-ahead.test.mjs')], {
        encoding: 'utf8',
      });
      expect(tested.status, tested.stdout).toBe(0);
      const config =
        'environment: { simulator: reacher }\nplugins: [./far-ahead.ts]\nfeedback: { name: far-ahead, margin: -1 }\n';
      await writeFile(join(place, 'job.yaml'), config);
      const refused = await run(['train', join(place, 'job.yaml')]);
      expect(refused.stderr).toMatch(/feedback\.margin.*must be at least 0/);
      const again = await run(['new', 'plugin', join(place, 'far-ahead')]);
      expect(again.stderr).toMatch(/far-ahead\.ts: the file is there already/);
    } finally {
      await rm(place, { recursive: true });
    }
  });

  test.each([
    ['Mine', 'cannot be the name'],
    ['top-k', 'is built in'],
  ])('refuses the name %s', async (name, reason) => {
    const { code, stderr } = await run(['new', 'plugin', at(name)]);
    expect(stderr).toContain(reason);
    expect(code).toBe(2);
  });
});
