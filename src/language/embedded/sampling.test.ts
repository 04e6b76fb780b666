import { describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { chooseToken, logNormalizer, penalized, tokenUniform, topLogProbs } from './sampling.js';

const probabilities = [0.4, 0.3, 0.2, 0.1];
// Adding a constant to all logits does not change probabilities.
const logits = Float32Array.from(probabilities, (p) => Math.log(p) + 5);
const all = { temperature: 1, topK: 0, topP: 1, minP: 0 };
const none = new Set<number>();

/** The share of each token when the uniform numbers are evenly spaced. */
function shares(choice: Partial<typeof all>, forbidden = none): number[] {
  const counts = [0, 0, 0, 0];
  const draws = 10_000;
  for (let i = 0; i < draws; i++) {
    counts[chooseToken(logits, { ...all, ...choice }, (i + 0.5) / draws, forbidden)]! += 1 / draws;
  }
  return counts;
}

function expectShares(actual: readonly number[], wanted: readonly number[]): void {
  for (const [v, share] of wanted.entries()) expect(actual[v], `token ${v}`).toBeCloseTo(share, 3);
}

describe('a token is drawn', () => {
  it('with its probability', () => expectShares(shares({}), probabilities));

  it.each([0.5, 2])('with the temperature %d', (temperature) => {
    const weights = probabilities.map((p) => p ** (1 / temperature));
    const total = weights.reduce((a, b) => a + b);
    expectShares(
      shares({ temperature }),
      weights.map((weight) => weight / total),
    );
  });

  it('from the k most likely', () => expectShares(shares({ topK: 2 }), [4 / 7, 3 / 7, 0, 0]));

  it('from the smallest set with probability topP', () => {
    expectShares(shares({ topP: 0.65 }), [4 / 7, 3 / 7, 0, 0]);
    expectShares(shares({ topP: 0.75 }), [4 / 9, 3 / 9, 2 / 9, 0]);
    // The share refers to the tokens that topK leaves.
    expectShares(shares({ topP: 0.55, topK: 2 }), [1, 0, 0, 0]);
  });

  it('from those with at least minP of the highest probability', () => {
    expectShares(shares({ minP: 0.6 }), [4 / 7, 3 / 7, 0, 0]);
  });

  it('and is never a forbidden one', () => {
    expectShares(shares({}, new Set([0])), [0, 3 / 6, 2 / 6, 1 / 6]);
    expect(chooseToken(logits, { ...all, temperature: 0 }, 0.5, new Set([0, 1]))).toBe(2);
  });

  it('as the most likely at temperature 0, the first of equally likely ones', () => {
    expect(chooseToken(Float32Array.of(1, 3, 3, 2), { ...all, temperature: 0 }, 0.99, none)).toBe(1);
  });
});

describe('penalties', () => {
  const neutral = { presencePenalty: 0, frequencyPenalty: 0, repetitionPenalty: 1 };
  const before = Float32Array.of(2, -2, 1, 4, -1);
  // Token 0 occurs in the prompt, 1 in the completion, and 3 twice in the completion.
  const under = (penalties: Partial<typeof neutral>) =>
    Array.from(penalized(before, { ...neutral, ...penalties }, [0, 0], [3, 1, 3]));

  it('return the same array if there are none', () => {
    expect(penalized(before, neutral, [0], [3])).toBe(before);
  });

  it('for presence apply once to tokens of the completion, for frequency once for each occurrence', () => {
    expect(under({ presencePenalty: 0.5 })).toEqual([2, -2.5, 1, 3.5, -1]);
    expect(under({ frequencyPenalty: 0.5 })).toEqual([2, -2.5, 1, 3, -1]);
  });

  it('for repetition apply to the prompt too, and come first', () => {
    expect(under({ repetitionPenalty: 2 })).toEqual([1, -4, 1, 2, -1]);
    expect(under({ repetitionPenalty: 2, presencePenalty: 0.5, frequencyPenalty: -1 })).toEqual([
      1, -3.5, 1, 3.5, -1,
    ]);
    expect(Array.from(before)).toEqual([2, -2, 1, 4, -1]);
  });
});

it('uniform numbers are a function of key, completion and token', () => {
  const key = randomKey(1);
  const draws = [0, 1, 2].flatMap((index) => [0, 1, 2].map((t) => tokenUniform(key, index, t)));
  expect(new Set(draws).size).toBe(9);
  expect(tokenUniform(key, 1, 2)).toBe(draws[5]);
  expect(tokenUniform(randomKey(2), 1, 2)).not.toBe(draws[5]);
});

it('log-probs are for temperature 1, the most likely first', () => {
  const normalizer = logNormalizer(logits);
  for (const [v, p] of probabilities.entries()) expect(Math.exp(logits[v]! - normalizer)).toBeCloseTo(p, 6);
  const { tokens, values } = topLogProbs(Float32Array.of(0, 2, 1, 2), 0, 3);
  expect([tokens, values]).toEqual([
    [1, 3, 2],
    [2, 2, 1],
  ]);
});
