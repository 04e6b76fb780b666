import { describe, expect, it } from 'vitest';
import { completionFacts } from './completions.js';

const facts = (...completions: string[]) =>
  completionFacts({
    updates: 0,
    completions: completions.map((completion, i) => ({
      prompt: 'p',
      completion,
      finishReason: i === 0 ? 'length' : 'stop',
    })),
  });

describe('completionFacts', () => {
  it('counts words, distinct n-grams and what was cut off', () => {
    // 6 words, of which 4 differ; pairs: the cat, cat sat | the cat, cat ran, of which 3 differ.
    expect(facts('The cat sat', 'the cat ran')).toEqual({
      words: 3,
      distinct1: 4 / 6,
      distinct2: 3 / 4,
      selfBleu: expect.closeTo(0.25, 1),
      repetition: Number.NaN,
      cut: 0.5,
    });
    expect(facts('same', 'same').distinct1).toBe(0.5);
    expect(facts('', '').distinct2).toBeNaN();
  });
});
