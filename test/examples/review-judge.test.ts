import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { countReview } from '../../examples/language/kind-reviews.js';
import { featuresOf, reward } from '../../examples/language/review-judge.js';
// @ts-expect-error: a script without types.
import { drawFrom, reviewJudge, shuffled, weightsFile, worth } from '../../scripts/review-judge.mjs';

const prompt = 'Review of the quiet bistro:';
const judged = (completion: string) => reward({ prompt, completion });

describe('the judge of reviews', () => {
  it('is what its script makes', async () => {
    expect(await reviewJudge()).toEqual(JSON.parse(await readFile(weightsFile, 'utf8')));
  }, 300_000);

  it('agrees with the simulated reader nearly as often as the reader, whose answers are noisy, with itself', async () => {
    const { agreement } = JSON.parse(await readFile(weightsFile, 'utf8'));
    expect(agreement.judgeWithReader).toBeGreaterThan(0.75);
    expect(agreement.judgeWithReader).toBeLessThanOrEqual(agreement.readerWithOwnWorth);
  });

  it.each([
    [' We liked the soup.', ' We hated the soup.'],
    [' The soup was lovely. We liked the bread.', ' The soup was lovely. We hated the bread.'],
    // The reward of the training gives each of these pairs the same reward.
    [' We loved the waiter. We liked the soup.', ' We loved the waiter. We loved the waiter.'],
    // What DPO wrote in the end.
    [' I found the coffee perfect.', ' I found the coffee the coffee coffee coffee was perfect.'],
    [
      ' The soup was lovely and the bread was fresh. We loved the waiter.',
      ' We loved the waiter. We liked the soup.',
    ],
  ])('prefers %j to %j', (better, worse) => {
    expect(judged(better)).toBeGreaterThan(judged(worse));
  });

  it('counts whether a word is there, and not how often', () => {
    const usualPairs = new Set(['soup .', 'bread .', '. $']);
    const features = featuresOf({ prompt, completion: ' Lovely soup. Lovely bread.' }, usualPairs);
    expect(features.get('lovely')).toBe(1);
    expect(features.get('bistro: soup')).toBe(1);
    expect(features.get('. lovely')).toBe(1);
    // ^ lovely, lovely soup, . lovely, lovely bread.
    expect(features.get('#strange')).toBe(4);
  });

  it('tells the word length from the length of a review', () => {
    const of = (completion: string) => featuresOf({ prompt, completion }, new Set());
    const [said, other] = [of(' The length and the repetition.'), of(' The soup and the bread.')];
    expect(said.get('length')).toBe(1);
    expect(said.get('repetition')).toBe(1);
    for (const name of ['#length', '#repetition']) expect(said.get(name)).toBe(other.get(name));
    expect(other.has('length')).toBe(false);
  });
});

describe('the disorder of words', () => {
  it('has every order with the same probability', () => {
    const orders = new Map<string, number>();
    // The numbers that choose: for the last of three places one of three, for the one before it one of two.
    for (const third of [0.1, 0.5, 0.9])
      for (const half of [0.2, 0.7]) {
        const order = shuffled(['a', 'b', 'c'], drawFrom([third, half])).join('');
        orders.set(order, (orders.get(order) ?? 0) + 1);
      }
    expect([...orders.values()]).toEqual(Array(6).fill(1));
  });

  it('ends when the random numbers are used up', () => {
    const draw = drawFrom([0.5]);
    expect(draw()).toBe(0.5);
    expect(draw).toThrow('all 1 random numbers are used up');
  });
});

describe('the simulated reader', () => {
  it.each([
    [' We loved the waiter. We liked the soup.', 2],
    [' We loved the waiter. We loved the waiter.', 1],
    [' The soup was lovely and the bread was stale.', 0],
    // About another place, and no sentence.
    [' We loved the villain. Lovely was soup the.', -2],
    ['', 0],
  ])('thinks that %j is worth %d', (completion, expected) => {
    expect(worth(prompt, completion, countReview)).toBe(expected);
  });
});
