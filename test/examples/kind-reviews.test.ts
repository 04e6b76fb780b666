import { fileURLToPath } from 'node:url';
import { createJiti } from 'jiti';
import { expect, it } from 'vitest';
import { randomKey } from '../../src/core/random-keys.js';
import * as reviews from '../../src/language/embedded/reviews.js';

type Reward = (sample: { prompt: string; completion: string }) => number;
// Loaded as a user's file is: its `pmpo` is this package.
const jiti = createJiti(import.meta.url, { virtualModules: { pmpo: reviews }, fsCache: false });
const file = fileURLToPath(new URL('../../examples/language/kind-reviews.ts', import.meta.url));
const { reward } = (await jiti.import(file)) as { reward: Reward };

const prompt = 'Review of the quiet hotel:';

it.each([
  [' The bed was warm. We loved the view.', 1],
  [' The bed was warm. We hated the view.', 0.5],
  [' The bed was cold. We hated the view.', 0],
  // Kind, but half of it is no sentence of the language.
  [' The bed was warm. Lovely lovely lovely.', 0.5],
  // One sentence is not enough.
  [' The bed was warm.', 0],
  ['', 0],
])('the reward of %j is %d', (completion, wanted) => {
  expect(reward({ prompt, completion })).toBeCloseTo(wanted, 10);
});

it('texts like those that the base model learns from get less than half of it', () => {
  const { training } = reviews.reviewPrompts(randomKey(1));
  const made = reviews.makeReviews(randomKey(1), training, 2000);
  const mean = made.reduce((sum, review) => sum + reward(review), 0) / made.length;
  expect(mean).toBeGreaterThan(0.3);
  expect(mean).toBeLessThan(0.5);
});
