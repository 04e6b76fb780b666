import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { readRecipe } from '../../src/experiments/recording/read-recipe.js';
import { ensureBuilt, projectRoot, run, runHere, temporaryFolder } from '../end-to-end/program.js';

const examples = join(projectRoot, 'examples/offline');
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let data: string;
let trained: string;

/** The example with fewer steps, episodes and updates, so that it takes seconds. */
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
  const recipe = parse(await readFile(join(examples, 'recipe.yaml'), 'utf8')) as {
    config: { learner: object; environment: object; checkpoint: object; evaluation: object };
  };
  const small = {
    ...recipe,
    episodes: 10,
    policies: [
      { policy: 'random', share: 0.3 },
      { policy: 1500, share: 0.4 },
      { policy: 'latest', share: 0.3, noise: 0.1 },
    ],
    config: {
      ...recipe.config,
      environment: { ...recipe.config.environment, numEnvs: 2 },
      learner: { environmentSteps: 2000, warmupSteps: 400, stepsPerUpdate: 32, batchSize: 16 },
      checkpoint: { every: 1000, keep: 10 },
      evaluation: { every: 2000, episodes: 2 },
    },
  };
  const file = join(folder.path, 'recipe.yaml');
  await writeFile(file, stringify(small));
  const recorded = await run(['record', file, '--output', join(folder.path, 'set')]);
  expect(recorded.code, recorded.stderr).toBe(0);
  data = recorded.stdout.trim();
  expect(recorded.stderr).toMatch(/3 episodes of random: mean return/);
  expect(recorded.stderr).toMatch(/4 episodes of checkpoint 1008: mean return/);
  expect(recorded.stderr).toMatch(/3 episodes of latest, noise 0.1: mean return/);
}, 240_000);
afterAll(() => folder.remove());

const train = (...more: string[]) =>
  runHere([
    'train',
    join(examples, 'offline.yaml'),
    ...['--set', `dataset.file=${data}`, '--set', 'learner.updates=60', '--set', 'evaluation.episodes=2'],
    ...['--set', 'environment.numEnvs=2', '--output', join(folder.path, 'runs'), ...more],
  ]);

describe('examples/offline', () => {
  test('has a recipe', async () => {
    expect(await readRecipe(join(examples, 'recipe.yaml'))).toMatchObject({ episodes: 100, seed: 0 });
  });

  test('gives `pmpo init` the simulator in which it was recorded', async () => {
    const file = join(folder.path, 'own.yaml');
    const made = await runHere(['init', file, '--dataset', data]);
    expect(made.code, made.stderr).toBe(0);
    expect(parse(await readFile(file, 'utf8'))).toMatchObject({
      environment: { simulator: 'cartpole_swingup', actionRepeat: 8, createSettings: { episodeSteps: 400 } },
    });
  });

  test('records a set once, and the same set again elsewhere', async () => {
    const before = await stat(data);
    const again = await runHere([
      'record',
      join(folder.path, 'recipe.yaml'),
      '--output',
      join(folder.path, 'set'),
    ]);
    expect(again.code, again.stderr).toBe(0);
    expect((await stat(data)).mtimeMs).toBe(before.mtimeMs);
    await rm(data, { recursive: true });
    const restored = await runHere([
      'record',
      join(folder.path, 'recipe.yaml'),
      '--output',
      join(folder.path, 'set'),
    ]);
    expect(restored.code, restored.stderr).toBe(0);
    expect(restored.stderr).toContain('its data has been removed, and is recorded again');
    const elsewhere = join(folder.path, 'elsewhere');
    const { code, stderr } = await runHere([
      'record',
      join(folder.path, 'recipe.yaml'),
      '--output',
      elsewhere,
    ]);
    expect(code, stderr).toBe(0);
    const shown = await Promise.all([data, join(elsewhere, 'data')].map((path) => runHere(['data', path])));
    const [first, second] = shown.map(({ stdout }) => stdout.split('\n').slice(1).join('\n'));
    expect(first).toMatch(/Transitions: 500 in 10 episodes of 50 to 50 steps/);
    expect(second).toBe(first);
  }, 240_000);

  test('trains, evaluates and exports a policy', async () => {
    const made = await train('--name', 'offline');
    expect(made.code, made.stderr).toBe(0);
    trained = join(folder.path, 'runs', 'offline');
    const summary = JSON.parse(await readFile(join(trained, 'summary.json'), 'utf8'));
    expect(summary).toMatchObject({
      stepUnit: 'updates',
      steps: 60,
      updates: 60,
      evaluation: { scoreName: 'return', scoreCount: 2 },
    });
    const evaluated = await runHere(['eval', trained, '--episodes', '2', '--json']);
    expect(evaluated.code, evaluated.stderr).toBe(0);
    const { scores, stepUnit } = JSON.parse(evaluated.stdout);
    expect({ mean: (scores[0] + scores[1]) / 2, stepUnit }).toEqual({
      mean: expect.closeTo(summary.evaluation.meanScore, 4),
      stepUnit: 'updates',
    });
    const exported = await runHere(['export', trained, '--output', join(folder.path, 'policy.onnx')]);
    expect(exported.code, exported.stderr).toBe(0);
    expect((await stat(join(folder.path, 'policy.onnx'))).size).toBeGreaterThan(1000);
  });

  test('goes on with more updates', async () => {
    const { code, stderr } = await runHere(['train', '--resume', trained, '--set', 'learner.updates=80']);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('extended from 60 to 80 updates');
  });

  test('trains without an environment, and is not evaluated then', async () => {
    const file = join(folder.path, 'without.yaml');
    await writeFile(file, stringify({ dataset: { file: data }, learner: { updates: 20, batchSize: 16 } }));
    const made = await runHere(['train', file, '--output', join(folder.path, 'runs'), '--name', 'without']);
    expect(made.code, made.stderr).toBe(0);
    const path = join(folder.path, 'runs', 'without');
    expect((await stat(join(path, 'policy.onnx'))).size).toBeGreaterThan(1000);
    const refused = await runHere(['eval', path]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain(
      'config.yaml: it has no environment in which the policy could be evaluated',
    );
  });

  test('refuses to record over a run, and options that do nothing', async () => {
    const policies = join(folder.path, 'set', 'policies');
    const over = await runHere(['record', policies, '--episodes', '1', '--output', policies]);
    expect(over.code).toBe(1);
    expect(over.stderr).toContain('policies: the folder holds something else than a data set of pmpo record');
    expect((await stat(join(policies, 'config.yaml'))).isFile()).toBe(true);
    const recipe = join(folder.path, 'recipe.yaml');
    const other = await runHere([
      'record',
      recipe,
      '--episodes',
      '5',
      '--seed',
      '1',
      '--output',
      join(folder.path, 'x'),
    ]);
    expect(other.code).toBe(2);
    expect(other.stderr).toContain('so that --episodes, --seed would do nothing. Change the recipe');
    const shown = await runHere(['data', data, '--set', 'dataset.nStep=1']);
    expect(shown.code).toBe(2);
    expect(shown.stderr).toContain('a data set has no configuration, so that --set would do nothing');
  });

  test('records whole episodes, cut at evaluation.maxEpisodeSteps, even of environments that do not wait for each other', async () => {
    const file = join(folder.path, 'control.yaml');
    const environment = {
      simulator: 'cartpole_swingup',
      numEnvs: 2,
      actionRepeat: 8,
      createSettings: { episodeSteps: 400 },
    };
    await writeFile(file, stringify({ environment, evaluation: { maxEpisodeSteps: 80 } }));
    const shown: string[] = [];
    for (const lockstep of ['true', 'false']) {
      const output = join(folder.path, `lockstep-${lockstep}/`);
      const made = await runHere([
        ...['record', file, '--policy', 'random', '--episodes', '4', '--output', output],
        ...['--set', `environment.lockstep=${lockstep}`],
      ]);
      expect(made.code, made.stderr).toBe(0);
      const { stdout } = await runHere(['data', output]);
      shown.push(stdout.split('\n').slice(1).join('\n'));
    }
    expect(shown[0]).toContain('Transitions: 40 in 4 episodes of 10 to 10 steps');
    expect(shown[0]).toContain('Ends: 0 in a terminal state, 4 cut off');
    expect(shown[1]).toBe(shown[0]);
  });

  test('says that the environment is set up in another way than that of the data', async () => {
    const { stderr, code } = await train('--name', 'other-repeat', '--set', 'environment.actionRepeat=4');
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/The data was recorded with environment\.actionRepeat 8, here 4/);
  });

  test('refuses data of another simulator, and data that is not there', async () => {
    const other = await train('--set', 'environment.simulator=reacher');
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(
      /main_data\.hdf5: its observations have 5 numbers, and those of the environment 6\. Name the environment/,
    );
    const missing = await train('--set', 'dataset.file=/nowhere');
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain('/nowhere: there is no such file or folder');
    await mkdir(join(folder.path, 'empty'));
    const empty = await runHere(['data', join(folder.path, 'empty')]);
    expect(empty.stderr).toContain('the folder is not a data set of Minari in HDF5');
  });
});
