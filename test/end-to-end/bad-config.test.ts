import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt, run, runHere, temporaryFolder, tinyConfig, writeConfig } from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** Runs `pmpo train` with a bad configuration, and returns its error message. */
async function complaint(config: unknown, ...args: string[]): Promise<string> {
  const file = await writeConfig(folder.path, 'bad.yaml', config);
  const { code, stdout, stderr } = await runHere(['train', file, ...args]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).not.toMatch(/^\s+at /m);
  return stderr.replaceAll(file, 'bad.yaml');
}

const tiny = () => tinyConfig(join(folder.path, 'runs'));

describe('pmpo train refuses, with exit code 2 and no stack trace,', () => {
  test('unknown keys, with their line and the nearest known key', async () => {
    const text =
      'environment:\n  simulator: cartpole_swingup\nlearner:\n  batchsize: 3\noperater: {name: mpo}\n';
    const message = await complaint(text);
    expect(message).toContain("bad.yaml: learner.batchsize (line 4): unknown key. Did you mean 'batchSize'?");
    expect(message).toContain("bad.yaml: operater (line 5): unknown key. Did you mean 'operator'?");
  });

  test('keys that have another name now, with the new name', async () => {
    const text = 'environment:\n  simulator: cartpole_swingup\n  actors: 4\n';
    expect(await complaint(text)).toBe(
      'pmpo: bad.yaml: environment.actors (line 3): this key is now environment.numEnvs\n',
    );
    expect(await complaint(tiny(), '--set', 'environment.actors=4')).toBe(
      'pmpo: --set environment.actors: this key is now environment.numEnvs\n',
    );
  });

  test('wrong types and values out of range', async () => {
    const message = await complaint({
      ...tiny(),
      seed: 'one',
      policy: { hidden: 64 },
      replay: { capacity: 0 },
    });
    expect(message).toMatch(/seed \(line \d+\): must be a number, not 'one'/);
    expect(message).toMatch(/policy\.hidden \(line \d+\): must be a list, not 64/);
    expect(message).toMatch(/replay\.capacity \(line \d+\): must be at least 1, not 0/);
  });

  test('unknown operators, classifiers and simulators', async () => {
    expect(await complaint(tiny(), '--operator', 'pmop')).toMatch(
      /--operator: unknown operator 'pmop'\. Did you mean 'pmpo'\? Known: pmpo, /,
    );
    expect(await complaint(tiny(), '--set', 'feedback.name=topk')).toMatch(/Did you mean 'top-k'\?/);
    expect(await complaint(tiny(), '--set', 'environment.simulator=cartpole_swing_up')).toMatch(
      /--set environment\.simulator: unknown embedded simulator .* Did you mean 'cartpole_swingup'\?/,
    );
  });

  test('settings of one operator given to another', async () => {
    expect(await complaint(tiny(), '--operator', 'mpo', '--set', 'operator.alpha=1')).toMatch(
      /--set operator\.alpha: unknown key of the operator 'mpo'/,
    );
  });

  test('feedback that the operator cannot use', async () => {
    const message = await complaint(
      { ...tiny(), feedback: { name: 'top-k', accept: 2, reject: 0 } },
      '--operator',
      'dpo',
    );
    expect(message).toMatch(/dpo/);
    expect(message).toMatch(/reject/);
  });

  test('settings that contradict each other', async () => {
    expect(await complaint(tiny(), '--set', 'learner.warmupSteps=600')).toMatch(
      /--set learner\.warmupSteps: 600 steps leave none for training/,
    );
  });

  test('settings on the command line for unknown keys', async () => {
    expect(await complaint(tiny(), '--set', 'seed')).toMatch(/--set seed: it must have the form key=value/);
    expect(await complaint(tiny(), '--set', 'lerner.batchSize=3')).toMatch(
      /--set lerner\.batchSize: lerner: unknown key\. Did you mean 'learner'\?/,
    );
    expect(await complaint(tiny(), '--set', 'seed.x=3')).toMatch(
      /--set seed\.x: 'seed' is .* has no keys|--set/,
    );
  });

  test('text that is not YAML, and a missing file', async () => {
    expect(await complaint('seed: [1')).toMatch(/bad\.yaml: line \d+: /);
    const { code, stderr } = await runHere(['train', join(folder.path, 'missing.yaml')]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/missing\.yaml: there is no such file/);
  });

  test('bad usage', async () => {
    const ends = await Promise.all(
      [['train'], ['trian'], ['train', 'a.yaml', '--seed', 'x'], ['eval'], ['compare', 'a.yaml']].map(
        (args) => runHere(args),
      ),
    );
    expect(ends.map(({ code }) => code)).toEqual([2, 2, 2, 2, 2]);
    const { code, stdout, stderr } = await run(['trian']);
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: ends[1]!.stderr });
  });
});
