import { describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { makeReview, makeReviews, parseReview, reviewPrompts } from './reviews.js';

const prompts = reviewPrompts(randomKey(1));
const prompt = 'Review of the quiet hotel:';
const parse = (completion: string) => parseReview({ prompt, completion });

describe('prompts', () => {
  it('are 160, one in five held out, by the key', () => {
    expect([prompts.training.length, prompts.heldOut.length]).toEqual([128, 32]);
    expect(new Set([...prompts.training, ...prompts.heldOut]).size).toBe(160);
    expect(reviewPrompts(randomKey(1))).toEqual(prompts);
    expect(reviewPrompts(randomKey(2)).heldOut).not.toEqual(prompts.heldOut);
  });
});

describe('reviews', () => {
  const reviews = makeReviews(randomKey(2), prompts.training, 2000);

  it('are of the grammar, two or three sentences, of the prompts given', () => {
    const known = new Set(prompts.training);
    for (const review of reviews) {
      const { sentences, wellFormed, positive, negative } = parseReview(review);
      expect([2, 3], review.completion).toContain(sentences);
      expect(wellFormed, review.completion).toBe(sentences);
      expect(positive + negative).toBeGreaterThanOrEqual(sentences);
      expect(known.has(review.prompt)).toBe(true);
      expect(review.completion).toMatch(/^ \S.*\S$/);
    }
  });

  it('are rather unkind', () => {
    const parsed = reviews.map(parseReview);
    const positive = parsed.reduce((sum, review) => sum + review.positive, 0);
    const negative = parsed.reduce((sum, review) => sum + review.negative, 0);
    expect(positive / (positive + negative)).toBeGreaterThan(0.37);
    expect(positive / (positive + negative)).toBeLessThan(0.43);
  });

  it('are a function of the key', () => {
    expect(makeReview(randomKey(3), prompt)).toEqual(makeReview(randomKey(3), prompt));
    expect(makeReview(randomKey(4), prompt)).not.toEqual(makeReview(randomKey(3), prompt));
  });
});

describe('parsing', () => {
  it.each([
    [' The bed was warm. We hated the view.', { sentences: 2, wellFormed: 2, positive: 1, negative: 1 }],
    [' What a superb hotel! The bed was fine and the room was weak.', { wellFormed: 2, positive: 2 }],
    [' I found the garden simply lovely.', { sentences: 1, wellFormed: 1 }],
    // Of another place; of no grammar; not ended; of no words.
    [' The soup was warm. What a fine bistro!', { sentences: 2, wellFormed: 0, positive: 2 }],
    [' The bed was. Lovely lovely lovely lovely.', { sentences: 2, wellFormed: 0, positive: 3 }],
    [' The bed was warm. The room was', { sentences: 2, wellFormed: 1, positive: 1 }],
    ['', { sentences: 0, wellFormed: 0, positive: 0, negative: 0 }],
    [' . !', { sentences: 2, wellFormed: 0 }],
  ])('%j', (completion, expected) => expect(parse(completion)).toMatchObject(expected));

  it('knows no grammar for other prompts', () => {
    expect(parseReview({ prompt: 'Write a poem.', completion: ' The bed was warm.' }).wellFormed).toBe(0);
  });
});
