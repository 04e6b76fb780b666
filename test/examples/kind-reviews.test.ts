import { describe, expect, it } from 'vitest';
import { countReview, reward } from '../../examples/language/kind-reviews.js';
import { randomKey } from '../../src/core/random-keys.js';
import { makeReviews, reviewPrompts } from '../../src/language/embedded/reviews.js';

const prompt = 'Review of the quiet hotel:';

describe('countReview', () => {
  it.each([
    [' The bed was warm. We hated the view.', { sentences: 2, wellFormed: 2, kind: 1, unkind: 1 }],
    [' What a superb hotel! The bed was fine and the room was weak.', { wellFormed: 2, kind: 2, unkind: 1 }],
    [' I found the garden simply lovely.', { sentences: 1, wellFormed: 1 }],
    // About another place; not a sentence of the grammar; unfinished; without words.
    [' The soup was warm. What a fine bistro!', { sentences: 2, wellFormed: 0, kind: 2 }],
    [' The bed was. Lovely lovely lovely lovely.', { sentences: 2, wellFormed: 0, kind: 3 }],
    [' The bed was warm. The room was', { sentences: 2, wellFormed: 1, kind: 1 }],
    ['', { sentences: 0, wellFormed: 0, kind: 0, unkind: 0 }],
    [' . !', { sentences: 2, wellFormed: 0 }],
  ])('counts %j', (completion, expected) => {
    expect(countReview({ prompt, completion })).toMatchObject(expected);
  });

  it('finds no well-formed sentence if the prompt does not ask for a review', () => {
    expect(countReview({ prompt: 'Write a poem.', completion: ' The bed was warm.' }).wellFormed).toBe(0);
  });
});

describe('reward', () => {
  it.each([
    [' The bed was warm. We loved the view.', 1],
    [' The bed was warm. We hated the view.', 0.5],
    [' The bed was cold. We hated the view.', 0],
    // Kind, but one of two sentences is not well formed.
    [' The bed was warm. Lovely lovely lovely.', 0.5],
    // One sentence is not enough.
    [' The bed was warm.', 0],
    ['', 0],
  ])('of %j is %d', (completion, wanted) => {
    expect(reward({ prompt, completion })).toBeCloseTo(wanted, 10);
  });
});

describe('the reviews that the embedded model first learns from', () => {
  const made = makeReviews(randomKey(2), reviewPrompts(randomKey(1)).training, 2000);
  const counts = made.map(countReview);

  it('are two or three sentences, all of them well formed', () => {
    for (const [i, { sentences, wellFormed, kind, unkind }] of counts.entries()) {
      expect([2, 3], made[i]!.completion).toContain(sentences);
      expect(wellFormed, made[i]!.completion).toBe(sentences);
      expect(kind + unkind).toBeGreaterThanOrEqual(sentences);
    }
  });

  it('have about 40 % kind words, and get less than half of the reward', () => {
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    const kind = sum(counts.map((count) => count.kind));
    const share = kind / (kind + sum(counts.map((count) => count.unkind)));
    expect(share).toBeGreaterThan(0.37);
    expect(share).toBeLessThan(0.43);
    const mean = sum(made.map(reward)) / made.length;
    expect(mean).toBeGreaterThan(0.3);
    expect(mean).toBeLessThan(0.5);
  });
});
