import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt, projectRoot, run, runHere, temporaryFolder } from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** Completions, which no simulator makes. */
const chats = join(projectRoot, 'examples/language/labels.jsonl');

const at = (...names: string[]) => join(folder.path, ...names);

describe('pmpo init', () => {
  test('writes a configuration for a simulator, with its specs, that trains', async () => {
    const file = at('reacher.yaml');
    const made = await run(['init', file, '--simulator', 'reacher']);
    expect(made.code, made.stderr).toBe(0);
    const text = await readFile(file, 'utf8');
    expect(text).toContain('# The policy sees 6 numbers and chooses 2:');
    expect(text).toContain('#   action [2]: -1 to 1');
    const short = [
      'learner.environmentSteps=64',
      'learner.warmupSteps=16',
      'learner.batchSize=8',
      'evaluation.episodes=1',
    ].flatMap((setting) => ['--set', setting]);
    const trained = await runHere(['train', file, '--output', at('runs'), ...short]);
    expect(trained.code, trained.stderr).toBe(0);
  });

  test('writes a configuration for a data set, from what it holds', async () => {
    const rows = [0, 1, 2].map((i) => JSON.stringify({ prompt: `p${i}`, completion: ' c', label: false }));
    await writeFile(at('rejected.jsonl'), rows.join('\n'));
    const made = await runHere(['init', at('rejected.yaml'), '--dataset', at('rejected.jsonl')]);
    expect(made.code, made.stderr).toBe(0);
    const text = await readFile(at('rejected.yaml'), 'utf8');
    expect(text).toMatch(/# .*rejected\.jsonl: read as .*0 accepted and 3 rejected completions/);
    expect(text).toContain('file: rejected.jsonl');
    expect(text).toContain('operator: { name: pmpo, alpha: 0 }');
    const short = [
      'language.model={name: embedded, layers: 1, width: 16, heads: 2, pretraining: {steps: 10}}',
      'learner.updates=2',
    ];
    const trained = await runHere(
      ['train', at('rejected.yaml'), '--output', at('runs'), ...short.flatMap((one) => ['--set', one])],
      { env: { PMPO_CACHE: at('cache') } },
    );
    expect(trained.code, trained.stderr).toBe(0);
  });

  test('writes a configuration for transitions, from what the file holds', async () => {
    const rows = [0, 1, 2, 3].map((i) =>
      JSON.stringify({
        observation: [i, -i],
        action: (i % 3) / 4,
        reward: i,
        next_observation: [i + 1, -i],
        terminated: i === 3,
      }),
    );
    await writeFile(at('steps.jsonl'), rows.join('\n'));
    const made = await runHere(['init', at('steps.yaml'), '--dataset', at('steps.jsonl')]);
    expect(made.code, made.stderr).toBe(0);
    expect(made.stderr).toContain('describes the transitions');
    const text = await readFile(at('steps.yaml'), 'utf8');
    expect(text).toMatch(/# .*steps\.jsonl: 4 transitions \(JSON Lines/);
    expect(text).toContain('  actionBounds: [0, 0.5]');
    const short = ['learner.updates=2', 'learner.batchSize=4', 'policy.hidden=[8]', 'critic.hidden=[8]'];
    const trained = await runHere([
      'train',
      at('steps.yaml'),
      '--output',
      at('runs'),
      ...short.flatMap((one) => ['--set', one]),
    ]);
    expect(trained.code, trained.stderr).toBe(0);
  });

  test.each([
    ['choices, of which each was taken', [[0], [2], [1]], /^ {2}actionValues: 3$/m],
    ['whole numbers with gaps', [[0], [50], [100]], /^ {2}actionBounds: \[0, 100\]$/m],
    [
      'several whole numbers',
      [
        [0, 1],
        [1, 0],
      ],
      /^ {2}actionBounds: \[0, 1\]$/m,
    ],
    ['large whole numbers', [[0], [1_000_000]], /^ {2}actionBounds: \[0, 1000000\]$/m],
    [
      'numbers of different ranges',
      [
        [0.5, -20],
        [-0.5, 100],
      ],
      /they differ: action\[0\] -0\.5 to 0\.5, action\[1\] -20 to 100\.[\s\S]*actionBounds: \[-20, 100\]/,
    ],
  ])('says what the actions of a file are that does not: %s', async (name, actions, expected) => {
    const rows = actions.map((action) =>
      JSON.stringify({ observations: [[0], [1]], actions: [action], rewards: [1], terminated: true }),
    );
    const [data, file] = [at(`${name}.jsonl`), at(`${name}.yaml`)];
    await writeFile(data, rows.join('\n'));
    const { code, stderr } = await runHere(['init', file, '--dataset', data]);
    expect(code, stderr).toBe(0);
    expect(await readFile(file, 'utf8')).toMatch(expected);
  });

  test('connects to the simulator of transitions, and refuses one that is not theirs', async () => {
    const row = (size: number) =>
      JSON.stringify({
        observations: [Array(size).fill(0), Array(size).fill(1)],
        actions: [[0, 0]],
        rewards: [1],
        terminated: true,
      });
    await writeFile(at('fits.jsonl'), row(6));
    await writeFile(at('other.jsonl'), row(5));
    const init = (data: string, ...more: string[]) =>
      runHere(['init', at(`of-${data}.yaml`), '--dataset', at(data), ...more]);
    const fitting = await init('fits.jsonl', '--simulator', 'reacher');
    expect(fitting.code, fitting.stderr).toBe(0);
    const text = await readFile(at('of-fits.jsonl.yaml'), 'utf8');
    expect(text).toContain('environment: { simulator: reacher }');
    expect(text).not.toMatch(/actionBounds|actionValues/);
    expect((await init('other.jsonl', '--simulator', 'reacher')).stderr).toMatch(
      /other\.jsonl, environment: its observations are/,
    );
    expect((await init('other.jsonl', '--address', '127.0.0.1:1')).stderr).toContain(
      'no server answers there',
    );
    expect(existsSync(at('of-other.jsonl.yaml'))).toBe(false);
  });

  test.each([
    ['packed.jsonl.gz', 'Unpack it with gunzip'],
    ['array.json', 'Write one JSON object on each line'],
    ['shards', 'transitions are not read from several other files'],
    ['shards/*.jsonl', 'transitions are not read from several files'],
    ['nan.jsonl', `'action' must be a number here`],
  ])('refuses transitions in %s in one line', async (name, reason) => {
    const row = { observation: [0], action: 1, reward: 0, next_observation: [1], terminated: false };
    const line = JSON.stringify(row);
    await mkdir(at('shards'), { recursive: true });
    await writeFile(at('shards', '0.jsonl'), line);
    await writeFile(at('packed.jsonl.gz'), gzipSync(line));
    await writeFile(at('array.json'), JSON.stringify([row], null, 2));
    await writeFile(at('nan.jsonl'), line.replace('"action":1', '"action":NaN'));
    const { code, stderr } = await runHere(['init', at('none.yaml'), '--dataset', at(name)]);
    expect(stderr).toContain(reason);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).not.toBe(0);
  });

  test('finds a threshold that divides scores, and refuses scores that are all the same', async () => {
    const rows = (scores: readonly number[]) =>
      scores.map((score, i) => JSON.stringify({ prompt: `p${i}`, completion: ' c', score })).join('\n');
    await writeFile(at('scores.jsonl'), rows([1, 1, 1, 4]));
    const made = await runHere(['init', at('scores.yaml'), '--dataset', at('scores.jsonl')]);
    expect(made.code, made.stderr).toBe(0);
    expect(await readFile(at('scores.yaml'), 'utf8')).toContain('feedback: { name: threshold, value: 4 }');
    await writeFile(at('same.jsonl'), rows([4, 4]));
    const refused = await runHere(['init', at('none.yaml'), '--dataset', at('same.jsonl')]);
    expect(refused.stderr).toMatch(/every completion has the score 4/);
  });

  test.each([
    [['--address', '[::1]:1'], 'no server answers there'],
    [['--simulator', 'reachr'], "--simulator: unknown embedded simulator 'reachr'. Did you mean 'reacher'?"],
    [['--address', '127.0.0.1:1'], 'no server answers there'],
    [['--dataset', 'no-such-file.jsonl'], 'no-such-file.jsonl'],
    [['--dataset', chats, '--simulator', 'reacher'], 'no simulator evaluates'],
    [[], 'Give --simulator NAME, --address HOST:PORT or --dataset FILE'],
  ])('with %j refuses in one line and writes nothing', async (options, reason) => {
    const { code, stderr } = await runHere(['init', at('none.yaml'), ...options]);
    expect(stderr).toContain(reason);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).not.toBe(0);
    await expect(readFile(at('none.yaml'))).rejects.toThrow();
  });

  test('names a folder that is not there', async () => {
    const { code, stderr } = await runHere(['init', at('nowhere', 'x.yaml'), '--simulator', 'reacher']);
    expect(stderr).toMatch(/x\.yaml: there is no such folder/);
    expect(code).toBe(2);
  });

  test('replaces no file', async () => {
    await writeFile(at('mine.yaml'), 'mine');
    const { code, stderr } = await runHere(['init', at('mine.yaml'), '--simulator', 'reacher']);
    expect(stderr).toMatch(/mine\.yaml: the file is there already/);
    expect(code).toBe(2);
    expect(await readFile(at('mine.yaml'), 'utf8')).toBe('mine');
  });
});

describe('pmpo new plugin', () => {
  test('writes a classifier whose test passes, and which a configuration can name', async () => {
    // A project that has pmpo in its node_modules.
    const place = at('project');
    await mkdir(join(place, 'node_modules'), { recursive: true });
    await symlink(projectRoot, join(place, 'node_modules/pmpo'), 'junction');
    const made = await runHere(['new', 'plugin', join(place, 'far-ahead')]);
    expect(made.code, made.stderr).toBe(0);
    const tested = spawnSync(process.execPath, ['--test', join(place, 'far-ahead.test.mjs')], {
      encoding: 'utf8',
    });
    expect(tested.status, tested.stdout).toBe(0);
    const config =
      'environment: { simulator: reacher }\nplugins: [./far-ahead.ts]\nfeedback: { name: far-ahead, margin: -1 }\n';
    await writeFile(join(place, 'job.yaml'), config);
    const refused = await runHere(['train', join(place, 'job.yaml')]);
    expect(refused.stderr).toMatch(/feedback\.margin.*must be at least 0/);
    const again = await runHere(['new', 'plugin', join(place, 'far-ahead')]);
    expect(again.stderr).toMatch(/far-ahead\.ts: the file is there already/);
  });

  test('makes the folder of its files', async () => {
    const { code, stderr } = await runHere(['new', 'plugin', at('plugins/of/mine')]);
    expect(code, stderr).toBe(0);
    expect(existsSync(at('plugins/of/mine.test.mjs'))).toBe(true);
  });

  test.each([
    ['Mine', 'does not end with the name'],
    ['plugins/', 'does not end with the name'],
    ['top-k', 'is built in'],
  ])('refuses the name %s', async (name, reason) => {
    const { code, stderr } = await runHere(['new', 'plugin', at(name)]);
    expect(stderr).toContain(reason);
    expect(code).toBe(2);
  });
});
