import { describe, expect, test } from 'vitest';
import type { TokenSequence } from './trainable-model.js';
import { checkCoefficients, coefficientsMessage, readScores, splitBySize } from './trainer-messages.js';

function sequence(prompt: number, completion: number): TokenSequence {
  return { prompt: new Int32Array(prompt).fill(1), completion: new Int32Array(completion).fill(2) };
}

describe('splitBySize', () => {
  const bytes = 64 + 5 * 10 + 33 * 4;

  test('covers every sequence once, in order, each range below the size', () => {
    const sequences = Array.from({ length: 7 }, () => sequence(10, 4));
    expect(splitBySize(sequences, 3 * bytes)).toEqual([
      { start: 0, end: 3 },
      { start: 3, end: 6 },
      { start: 6, end: 7 },
    ]);
    expect(splitBySize(sequences, 7 * bytes)).toEqual([{ start: 0, end: 7 }]);
  });

  test('gives a sequence above the size its own range', () => {
    const sequences = [sequence(10, 4), sequence(1000, 4), sequence(10, 4)];
    expect(splitBySize(sequences, 2 * bytes)).toEqual([
      { start: 0, end: 1 },
      { start: 1, end: 2 },
      { start: 2, end: 3 },
    ]);
  });

  test('makes one empty range of an empty batch', () => {
    expect(splitBySize([], 100)).toEqual([{ start: 0, end: 0 }]);
  });
});

describe('coefficients', () => {
  test('are sent as one number, one for each token, or none', () => {
    expect(coefficientsMessage({ logProb: -0.5, kl: Float32Array.of(1, 2) })).toEqual({
      logProb: [-0.5],
      kl: [1, 2],
      reverseKl: [],
    });
  });

  test('must fit their sequences', () => {
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

  test('contain exactly the requested parts', () => {
    expect(read({ logProb: [-1, -2], kl: [0, 0.5], reverseKl: [] })).toEqual([
      { logProb: Float32Array.of(-1, -2), kl: Float32Array.of(0, 0.5) },
    ]);
  });

  test('must be complete and finite', () => {
    expect(() => read()).toThrow('here:1: it returned 0 scores for 1 sequences');
    expect(() => read({ logProb: [-1], kl: [0, 0] })).toThrow(
      'logProb of sequence 0 has 1 numbers for 2 tokens',
    );
    expect(() => read({ logProb: [-1, -2] })).toThrow('kl of sequence 0 has 0 numbers');
    expect(() => read({ logProb: [-1, Number.NaN], kl: [0, 0] })).toThrow(
      'logProb of sequence 0 is not finite',
    );
  });
});
