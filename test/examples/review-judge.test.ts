import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { countReview } from '../../examples/language/kind-reviews.js';
import { featuresOf, reward } from '../../examples/language/review-judge.js';
// @ts-expect-error: a script without types.
import { reviewJudge, weightsFile, worth } from '../../scripts/review-judge.mjs';

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
    expect(features.get('strange')).toBe(4);
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
