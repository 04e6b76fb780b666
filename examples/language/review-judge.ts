import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * A judge of reviews that is not the reward they are trained with: a reward model, a logistic regression on words and pairs of words, that
 * was trained on comparisons of other reviews (`scripts/review-judge.mjs`). It has no list of kind words and no grammar.
 *
 *   npx pmpo winrate A B --prompts held-out.jsonl --judge review-judge.ts
 *   evaluation: { judge: review-judge.ts }
 */

/** A review as the judge sees it. */
export interface JudgedReview {
  readonly prompt: string;
  readonly completion: string;
}

/**
 * The features of a review with their values. Those of words say whether a word is there and not how often; those with a # before
 * their name, which no word has, are numbers.
 * @param usualPairs the pairs of neighbouring words that reviews have; the others are counted as strange.
 */
export function featuresOf(
  { prompt, completion }: JudgedReview,
  usualPairs: { has(pair: string): boolean },
): Map<string, number> {
  const place = /(\S+):$/.exec(prompt)?.[1] ?? '';
  const tokens = ['^', ...(completion.toLowerCase().match(/\p{L}+|[.!]/gu) ?? []), '$'];
  const features = new Map<string, number>();
  let strange = 0;
  for (const [i, token] of tokens.slice(0, -1).entries()) {
    const pair = `${token} ${tokens[i + 1]!}`;
    features.set(token, 1);
    features.set(pair, 1);
    features.set(`${place}: ${token}`, 1);
    if (!usualPairs.has(pair)) strange += 1;
  }
  features.set('#strange', strange);
  const quads = tokens.slice(3).map((_, i) => tokens.slice(i, i + 4).join(' '));
  features.set('#repetition', quads.length === 0 ? 0 : 1 - new Set(quads).size / quads.length);
  features.set('#length', tokens.length / 20);
  return features;
}

const text = readFileSync(new URL('./review-judge.json', import.meta.url), 'utf8');

/** With other weights it is another judge, whose verdicts are not to be mixed with those from before. */
export const identity = createHash('sha256').update(text).digest('hex');

const { weights, pairs } = JSON.parse(text) as {
  readonly weights: Readonly<Record<string, number>>;
  readonly pairs: readonly string[];
};
const usualPairs = new Set(pairs);

/** How good a review is: of two reviews, the judge prefers the first with probability σ(reward of the first − reward of the second). */
export function reward(review: JudgedReview): number {
  let sum = 0;
  for (const [feature, value] of featuresOf(review, usualPairs)) sum += (weights[feature] ?? 0) * value;
  return sum;
}
