import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, exampleConfigs, projectRoot, run, temporaryFolder } from './program.js';

/** Every configuration under examples/ that needs no server: others are trained with in test/interop/serve and redis. */
const examples = exampleConfigs().filter(
  ({ address, redis }) => address === undefined && redis === undefined,
);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** The example's own settings, but for how long it takes. */
const short = {
  'learner.environmentSteps': 400,
  'learner.warmupSteps': 200,
  'learner.stepsPerUpdate': 20,
  'learner.batchSize': 16,
  'environment.createSettings.episodeSteps': 50,
  'evaluation.episodes': 1,
  'replay.capacity': 1000,
};

test('there are examples', () => {
  expect(examples.map(({ path }) => path)).toContain('cartpole.yaml');
});

test.each(examples)('examples/$path trains', async ({ path }) => {
  const settings = Object.entries(short).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const file = join(projectRoot, 'examples', path);
  const { code, stderr } = await run(['train', file, '--output', folder.path, ...settings]);
  expect(stderr).toMatch(/Return .* over 1 episode/);
  expect(code).toBe(0);
});
