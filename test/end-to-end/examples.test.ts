import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, exampleConfigs, projectRoot, run, temporaryFolder } from './program.js';

/** The configurations under examples/ that need no server; test/interop/serve, redis and python_feedback train with the others. */
const examples = exampleConfigs().filter(
  ({ address, redis, model }) => address === undefined && redis === undefined && model === undefined,
);
const languageExamples = exampleConfigs().filter(
  ({ feedback, model }) => model === 'embedded' && feedback === undefined,
);
const trainerExamples = exampleConfigs().filter(({ model }) => model === 'trainer');

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** Overrides that shorten an example's run. */
const short = {
  'learner.environmentSteps': 400,
  'learner.warmupSteps': 200,
  'learner.stepsPerUpdate': 20,
  'learner.batchSize': 16,
  'environment.createSettings.episodeSteps': 50,
  'evaluation.episodes': 1,
  'replay.capacity': 1000,
};

test('examples/cartpole.yaml is among the examples', () => {
  expect(examples.map(({ path }) => path)).toContain('cartpole.yaml');
});

const shortLanguage = {
  'language.model.layers': 1,
  'language.model.width': 16,
  'language.model.heads': 2,
  'language.model.keyValueHeads': 1,
  'language.model.hidden': 32,
  'language.model.pretraining.steps': 5,
  'learner.updates': 2,
  'learner.batchSize': 2,
};

test.each(languageExamples)('examples/$path trains', async ({ path }) => {
  const settings = Object.entries(shortLanguage).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const file = join(projectRoot, 'examples', path);
  const { code, stderr } = await run(['train', file, '--output', folder.path, ...settings], {
    env: { PMPO_CACHE: join(folder.path, 'cache') },
  });
  expect(stderr).toMatch(/Done: \d+ completions, 2 updates/);
  expect(code).toBe(0);
});

test.each(trainerExamples)(
  'examples/$path is valid, and reports the address of a trainer that is not running',
  async ({ path }) => {
    const file = join(projectRoot, 'examples', path);
    // No server listens on this port.
    const settings = [
      '--set',
      'language.model.address=127.0.0.1:1',
      '--set',
      'language.model.deadlineSeconds=2',
    ];
    const { code, stderr } = await run(['train', file, '--output', folder.path, ...settings]);
    expect(stderr).toMatch(/^pmpo: 127\.0\.0\.1:1: no server answers there/);
    expect(code).toBe(1);
  },
);

test.each(examples)('examples/$path trains', async ({ path }) => {
  const settings = Object.entries(short).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const file = join(projectRoot, 'examples', path);
  const { code, stderr } = await run(['train', file, '--output', folder.path, ...settings]);
  expect(stderr).toMatch(/Return .* over 1 episode/);
  expect(code).toBe(0);
});
