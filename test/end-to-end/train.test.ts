import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import protobuf from 'protobufjs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  type Ended,
  ensureBuilt,
  projectRoot,
  run,
  runHere,
  start,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
/** A run of the program, with its folder, which several tests read. */
let whole: { readonly file: string; readonly directory: string; readonly ended: Ended };
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
  const { output, file } = await setUp('whole');
  const ended = await run(['train', file, '--name', 'whole', '--seed', '3']);
  whole = { file, directory: join(output, 'whole'), ended };
});
afterAll(() => folder.remove());

/** Creates a folder for the runs of one test, and its configuration file. */
async function setUp(name: string, change: (config: ReturnType<typeof tinyConfig>) => void = () => {}) {
  const output = join(folder.path, name);
  await mkdir(output);
  const config = tinyConfig(output);
  change(config);
  return { output, file: await writeConfig(output, 'config.yaml', config) };
}

const readJson = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, 'utf8'));

test('a run on the embedded server writes all files of a run', async () => {
  const { code, stdout, stderr } = whole.ended;
  expect(stderr).toMatch(/Return .* over 1 episode\nBest return .*\nPolicies: .*\nReport: .*report\.html\n$/);
  expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
  const { directory } = whole;
  expect((await readdir(directory)).sort()).toEqual([
    'checkpoints',
    'config.yaml',
    'episodes',
    'metrics.jsonl',
    'policy-best.onnx',
    'policy.onnx',
    'provenance.json',
    'report.html',
    'summary.json',
    'tensorboard',
  ]);
  expect(await readdir(join(directory, 'checkpoints'))).toHaveLength(2);
  expect(await readJson(join(directory, 'summary.json'))).toMatchObject({
    operator: 'pmpo',
    feedback: 'value-baseline',
    environment: 'cartpole_swingup',
    seed: 3,
    steps: 600,
    stepUnit: 'environment steps',
    updates: 125,
    wallSeconds: expect.any(Number),
    evaluation: { scoreName: 'return', scoreCount: 1, meanScore: expect.any(Number), stdScore: 0 },
  });
  expect(parse(await readFile(join(directory, 'config.yaml'), 'utf8'))).toMatchObject({
    seed: 3,
    learner: { samples: 4 },
  });
  const lines = (await readFile(join(directory, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  const kinds = lines.map((line) => (JSON.parse(line) as { kind: string }).kind);
  expect(kinds.filter((kind) => kind === 'evaluation')).toHaveLength(2);
  expect(kinds).toContain('metrics');
  expect(await readFile(join(directory, 'report.html'), 'utf8')).toContain('pmpo train');
});

/** The actions of a policy.onnx for some observations. */
async function actions(file: string): Promise<Float32Array> {
  const session = await InferenceSession.create(await readFile(file));
  const observation = Float32Array.from({ length: 4 * 5 }, (_, i) => Math.sin(i));
  const { action } = await session.run({ observation: new Tensor('float32', observation, [4, 5]) });
  return action.data as Float32Array;
}

/** The metadata of an ONNX model. */
function metadataOf(model: Uint8Array): Record<string, string> {
  const { root } = protobuf.parse(readFileSync(join(projectRoot, 'proto/onnx/onnx.proto'), 'utf8'), {
    keepCase: true,
  });
  const { metadata_props: entries } = root.lookupType('onnx.ModelProto').decode(model).toJSON() as {
    metadata_props: { key: string; value: string }[];
  };
  return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
}

test('eval reproduces the last evaluation, and export writes the same policy', async () => {
  const { directory } = whole;
  const summary = (await readJson(join(directory, 'summary.json'))) as { evaluation: { meanScore: number } };
  const evaluated = await runHere(['eval', directory, '--episodes', '1', '--json']);
  expect(evaluated.code).toBe(0);
  expect(JSON.parse(evaluated.stdout)).toMatchObject({
    steps: 600,
    scoreCount: 1,
    meanScore: summary.evaluation.meanScore,
  });
  const exported = join(folder.path, 'again.onnx');
  expect((await runHere(['export', directory, '--output', exported])).code).toBe(0);
  const again = await actions(exported);
  expect(again).toEqual(await actions(join(directory, 'policy.onnx')));
  expect(new Set(again).size).toBe(4);
});

test('eval and export --best take the policy with the best evaluation, which policy-best.onnx holds', async () => {
  const { output, file } = await setUp('best', (config) => {
    config.evaluation.every = 60;
  });
  // A policy that learns nothing: its returns rise and fall by chance, and its last evaluation is not its best.
  const args = ['--name', 'r', '--seed', '5', '--set', 'learner.learningRate=1e-6', '--quiet'];
  expect((await runHere(['train', file, ...args])).code).toBe(0);
  const directory = join(output, 'r');
  const returns = (await readFile(join(directory, 'metrics.jsonl'), 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; steps: number; scores: number[] })
    .flatMap(({ kind, steps, scores }) => (kind === 'evaluation' ? [{ steps, score: scores[0] }] : []));
  expect(returns.length).toBeGreaterThan(8);
  const best = returns.reduce((a, b) => (b.score > a.score ? b : a));
  // Otherwise this would show nothing: choose another seed.
  expect(best.steps).toBeLessThan(600);
  expect(await readJson(join(directory, 'summary.json'))).toMatchObject({
    best: { steps: best.steps, meanScore: best.score },
  });
  const evaluated = await runHere(['eval', directory, '--best', '--episodes', '1', '--json']);
  expect(JSON.parse(evaluated.stdout)).toMatchObject({ steps: best.steps, meanScore: best.score });
  const exported = join(output, 'best.onnx');
  expect((await runHere(['export', directory, '--best', '--output', exported])).code).toBe(0);
  const written = await readFile(join(directory, 'policy-best.onnx'));
  const again = await actions(exported);
  expect(again).toEqual(await actions(join(directory, 'policy-best.onnx')));
  expect(metadataOf(await readFile(exported))).toEqual(metadataOf(written));
  expect(again).not.toEqual(await actions(join(directory, 'policy.onnx')));
  const metadata = metadataOf(written);
  expect(metadata).toMatchObject({
    'pmpo.seed': '5',
    'pmpo.environmentSteps': `${best.steps}`,
    'pmpo.version': expect.stringMatching(/^\d+\.\d+\.\d+/),
  });
  const parts = JSON.parse(metadata['pmpo.observations']) as { offset: number; size: number }[];
  expect(parts.reduce((size, part) => size + part.size, 0)).toBe(5);
  expect(JSON.parse(metadata['pmpo.actions'])).toMatchObject([
    { offset: 0, size: 1, minimum: [-1], maximum: [1] },
  ]);
  expect(metadataOf(await readFile(join(directory, 'policy.onnx')))['pmpo.environmentSteps']).toBe('600');
});

test('the same seed gives the same parameters, and another seed different ones', async () => {
  // The first of them in another process.
  const directories = [whole.directory];
  for (const seed of [3, 1]) {
    const name = `seed${seed}`;
    const { code, stderr } = await runHere([
      'train',
      whole.file,
      '--seed',
      `${seed}`,
      '--name',
      name,
      '--quiet',
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    directories.push(join(dirname(whole.directory), name));
  }
  const policies = await Promise.all(directories.map((path) => readFile(join(path, 'policy.onnx'))));
  expect(policies[0].equals(policies[1])).toBe(true);
  expect(policies[0].equals(policies[2])).toBe(false);
});

test('--operator replaces the operator; --json prints the progress as one object per line', async () => {
  const { file } = await setUp('json', (config) => Object.assign(config.operator, { alpha: 0.25 }));
  const { code, stdout } = await runHere(['train', file, '--operator', 'mpo', '--json']);
  expect(code).toBe(0);
  const events = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; summary?: unknown });
  expect(events[0].event).toBe('start');
  expect(events.at(-1)).toMatchObject({ event: 'finish', summary: { operator: 'mpo' } });
});

test('the categorical head and the other operators train', async () => {
  const { file } = await setUp('others', (config) => {
    config.learner.environmentSteps = 300;
  });
  const ends = await Promise.all(
    [
      ['--set', 'policy.head=categorical'],
      ['--operator', 'dpo'],
      ['--operator', 'behavior-cloning'],
      ['--set', 'operator.alpha=0', '--set', 'operator.beta=2'],
      ['--operator', 'mpo', '--set', 'policy.head=categorical', '--set', 'reference={rate: 0.05}'],
    ].map((args, i) => runHere(['train', file, '--name', `r${i}`, '--quiet', ...args])),
  );
  expect(ends.map(({ code, stderr }) => ({ code, stderr }))).toEqual(Array(5).fill({ code: 0, stderr: '' }));
});

test('compare trains every operator with every seed and draws one report', async () => {
  const { output, file } = await setUp('compare', (config) => {
    config.learner.environmentSteps = 300;
  });
  const args = ['compare', file, '--operators', 'pmpo,dpo', '--seeds', '2', '--name', 'both'];
  const { code, stderr } = await runHere(args);
  expect(code).toBe(0);
  expect(stderr).toMatch(
    /pmpo: returns? .* \(\d seeds?\)\ndpo: returns? .* \(\d seeds?\)\nReport: .*report\.html\n$/,
  );
  const directory = join(output, 'both');
  expect((await readdir(directory)).sort()).toEqual([
    'dpo-seed0',
    'dpo-seed1',
    'learning-curves.svg',
    'pmpo-seed0',
    'pmpo-seed1',
    'report.html',
  ]);
  const report = await readFile(join(directory, 'report.html'), 'utf8');
  for (const name of ['dpo-seed1', 'pmpo-seed0']) expect(report).toContain(name);
});

test('compare can be stopped and continued: finished runs are kept, and other settings are refused', async () => {
  const { output, file } = await setUp('compare-resumed', (config) => {
    config.learner.environmentSteps = 3000;
  });
  const args = ['compare', file, '--operators', 'pmpo,dpo', '--seeds', '1', '--name', 'both'];
  const directory = join(output, 'both');
  const refused = async (more: readonly string[], message: RegExp) => {
    const { code, stderr } = await runHere([...args, ...more]);
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  };
  await refused(['--resume', directory], /both: there is no such folder/);
  const running = start(args, { timeoutSeconds: 170 });
  await running.until(/Run 2 of 2: dpo-seed0[\s\S]*Evaluation/, 'stderr');
  running.child.kill('SIGINT');
  const stopped = await running.ended;
  expect(stopped.stderr).toMatch(/Stopped\. Continue with the same command and --resume .*both\n$/);
  expect(stopped.code).toBe(1);
  const summaryFile = join(directory, 'pmpo-seed0', 'summary.json');
  const before = await readFile(summaryFile, 'utf8');
  await refused(
    ['--resume', directory, '--set', 'seed=7'],
    /both: it has none of the runs of this comparison/,
  );
  const otherwise = ['--set', 'learner.discount=0.9'];
  await refused(['--resume', directory, ...otherwise], /pmpo-seed0: it holds a run with other settings/);
  const resumed = await runHere([...args, '--resume', directory]);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(resumed.stderr).toMatch(/Run 1 of 2: pmpo-seed0 \(done before\)\n/);
  expect(resumed.stderr).toMatch(/pmpo: returns? .* \(\d seeds?\)\ndpo: returns? /);
  expect(await readFile(summaryFile, 'utf8')).toBe(before);
  expect(await readJson(join(directory, 'dpo-seed0', 'summary.json'))).toMatchObject({
    steps: 3000,
  });
  expect(await readdir(output)).not.toContain('both-2');
}, 240_000);

test('Ctrl-C saves a checkpoint and prints the command that resumes the run', async () => {
  const { output, file } = await setUp('interrupt', (config) => {
    config.learner.environmentSteps = 8000;
    config.checkpoint.every = 100_000;
  });
  const running = start(['train', file, '--name', 'r', '--json']);
  await running.until(/"event":"evaluation"/, 'stdout');
  running.child.kill('SIGINT');
  const { code, stderr } = await running.ended;
  expect(code).toBe(1);
  const directory = join(output, 'r');
  expect(stderr).toMatch(/Stopped\. Resume with: npx pmpo train --resume .*\/r\n$/);
  expect(await readdir(join(directory, 'checkpoints'))).toHaveLength(1);
  const resumed = await runHere(['train', '--resume', directory]);
  expect(resumed.code).toBe(0);
  expect(await readJson(join(directory, 'summary.json'))).toMatchObject({ steps: 8000 });
  await stat(join(directory, 'report.html'));
});
