import { expect, it } from 'vitest';
import { requireCheckpoints } from './make-data.js';

const check = (policy: number | 'random', keep: number, every = 1000) =>
  requireCheckpoints(
    'recipe.yaml',
    { episodes: 1, seed: 0, policies: [{ policy, share: 1, noise: 0 }] },
    { learner: { environmentSteps: 4500 }, checkpoint: { every, keep } },
  );

it('finds a policy whose checkpoint will not be kept before anything is trained', () => {
  // Checkpoints are at 1000, 2000, 3000, 4000 and 4500.
  expect(() => check(999, 10)).toThrow(
    'recipe.yaml, policies[0].policy: no checkpoint at 999 or before will be kept: with config.checkpoint.every = 1000 and keep = 10, the first one is at 1000',
  );
  expect(() => check(1000, 5)).not.toThrow();
  expect(() => check(3999, 2)).toThrow('the first one is at 4000');
  expect(() => check(4000, 2)).not.toThrow();
  expect(() => check(4499, 1)).toThrow('the first one is at 4500');
  expect(() => check(4499, 1, 9000)).toThrow('the first one is at 4500');
  expect(() => check('random', 1)).not.toThrow();
});
