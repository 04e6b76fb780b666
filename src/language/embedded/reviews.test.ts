import { describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { makeReview, makeReviews, reviewPrompts } from './reviews.js';

const prompts = reviewPrompts(randomKey(1));
const prompt = 'Review of the quiet hotel:';

describe('prompts', () => {
  it('are 160, of which the key holds out a fifth', () => {
    expect([prompts.training.length, prompts.heldOut.length]).toEqual([128, 32]);
    expect(new Set([...prompts.training, ...prompts.heldOut]).size).toBe(160);
    expect(reviewPrompts(randomKey(1))).toEqual(prompts);
    expect(reviewPrompts(randomKey(2)).heldOut).not.toEqual(prompts.heldOut);
  });
});

describe('reviews', () => {
  it('are for the given prompts, and begin with a space', () => {
    const known = new Set(prompts.training);
    for (const review of makeReviews(randomKey(2), prompts.training, 2000)) {
      expect(known.has(review.prompt)).toBe(true);
      expect(review.completion).toMatch(/^ \S.*\S$/);
    }
  });

  it('are a function of the key', () => {
    expect(makeReview(randomKey(3), prompt)).toEqual(makeReview(randomKey(3), prompt));
    expect(makeReview(randomKey(4), prompt)).not.toEqual(makeReview(randomKey(3), prompt));
  });
});
