import { describe, expect, test } from 'vitest';
import type { TokenSequence } from './trainable-model.js';
import { checkCoefficients, coefficientsMessage, inParts, readScores } from './trainer-messages.js';

function sequence(prompt: number, completion: number): TokenSequence {
  return { prompt: new Int32Array(prompt).fill(1), completion: new Int32Array(completion).fill(2) };
}

describe('parts of a batch', () => {
  const bytes = 64 + 5 * 10 + 33 * 4;

  test('cover every sequence once, in order, each below the size', () => {
    const sequences = Array.from({ length: 7 }, () => sequence(10, 4));
    expect(inParts(sequences, 3 * bytes)).toEqual([
      { start: 0, end: 3 },
      { start: 3, end: 6 },
      { start: 6, end: 7 },
    ]);
    expect(inParts(sequences, 7 * bytes)).toEqual([{ start: 0, end: 7 }]);
  });

  test('hold alone what is too large for any', () => {
    const sequences = [sequence(10, 4), sequence(1000, 4), sequence(10, 4)];
    expect(inParts(sequences, 2 * bytes)).toEqual([
      { start: 0, end: 1 },
      { start: 1, end: 2 },
      { start: 2, end: 3 },
    ]);
  });

  test('of nothing are one call, for the server to answer', () => {
    expect(inParts([], 100)).toEqual([{ start: 0, end: 0 }]);
  });
});

describe('coefficients', () => {
  test('go as one number, as one for each token, or as none', () => {
    expect(coefficientsMessage({ logProb: -0.5, kl: Float32Array.of(1, 2) })).toEqual({
      logProb: [-0.5],
      kl: [1, 2],
      reverseKl: [],
    });
  });

  test('are refused where they do not fit their sequences', () => {
    const sequences = [sequence(1, 3), sequence(1, 2)];
    expect(() => checkCoefficients(sequences, [{ logProb: 1 }])).toThrow('1 for 2 sequences');
    expect(() => checkCoefficients(sequences, [{}, { kl: new Float32Array(3) }])).toThrow(
      'coefficients[1].kl: 3 numbers for a completion of 2 tokens',
    );
    expect(() => checkCoefficients(sequences, [{}, { kl: new Float32Array(2) }])).not.toThrow();
  });
});

describe('scores', () => {
  const read = (...messages: Parameters<typeof readScores>[0]) =>
    readScores(messages, [sequence(1, 2)], { logProb: true, kl: true }, 'here:1');

  test('hold what was asked for and nothing else', () => {
    expect(read({ logProb: [-1, -2], kl: [0, 0.5], reverseKl: [] })).toEqual([
      { logProb: Float32Array.of(-1, -2), kl: Float32Array.of(0, 0.5) },
    ]);
  });

  test('are refused where some are missing or not finite', () => {
    expect(() => read()).toThrow('here:1: it answers with 0 scores for 1 sequences');
    expect(() => read({ logProb: [-1], kl: [0, 0] })).toThrow(
      'logProb of sequence 0 has 1 numbers for 2 tokens',
    );
    expect(() => read({ logProb: [-1, -2] })).toThrow('kl of sequence 0 has 0 numbers');
    expect(() => read({ logProb: [-1, Number.NaN], kl: [0, 0] })).toThrow(
      'logProb of sequence 0 is not finite',
    );
  });
});
