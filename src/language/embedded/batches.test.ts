import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchSequences, completionSpan, lengthBucket, spread } from './batches.js';

const contextLength = 100;
const tokens = (most: number) =>
  fc
    .array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: most })
    .map((list) => Int32Array.from(list));
const sequences = fc.array(fc.record({ prompt: tokens(40), completion: tokens(60) }), {
  minLength: 1,
  maxLength: 120,
});

describe('batches of sequences', () => {
  it('hold each sequence once, with the completion in its span', () => {
    fc.assert(
      fc.property(sequences, (all) => {
        const batches = batchSequences(all, contextLength);
        expect(batches.flatMap(({ members }) => members).toSorted((a, b) => a - b)).toEqual([...all.keys()]);
        for (const batch of batches) {
          for (const [row, i] of batch.members.entries()) {
            const { prompt, completion } = all[i]!;
            const [from, to] = completionSpan(batch, row, all[i]!);
            // `next` holds the completion at these positions, and `tokens` the tokens before.
            expect(batch.next.subarray(from, to)).toEqual(completion);
            const read = batch.tokens.subarray(row * batch.positions, to);
            expect([...read]).toEqual([...prompt, ...completion].slice(0, -1));
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it('have few shapes: multiples of 16 positions up to the context length, powers of two of rows, 4096 tokens', () => {
    fc.assert(
      fc.property(sequences, (all) => {
        for (const { rows, positions, members } of batchSequences(all, contextLength)) {
          expect(positions % 16 === 0 || positions === contextLength).toBe(true);
          expect(Number.isInteger(Math.log2(rows))).toBe(true);
          expect(members.length).toBeLessThanOrEqual(rows);
          expect(rows * positions).toBeLessThanOrEqual(4096);
        }
      }),
      { numRuns: 50 },
    );
    expect([1, 16, 17, 99].map((length) => lengthBucket(length, contextLength))).toEqual([16, 16, 32, 100]);
  });

  it('spread factors over the completions of their sequences only', () => {
    const all = [
      { prompt: Int32Array.of(1, 2), completion: Int32Array.of(3, 4) },
      { prompt: Int32Array.of(5), completion: Int32Array.of(6) },
      { prompt: Int32Array.of(7), completion: Int32Array.of(8, 9) },
    ];
    const [batch] = batchSequences(all, contextLength);
    const out = spread(batch!, all, [2, undefined, Float32Array.of(3, -4)]);
    const at = (i: number) => {
      const [from, to] = completionSpan(batch!, batch!.members.indexOf(i), all[i]!);
      return [...out.subarray(from, to)];
    };
    expect([at(0), at(1), at(2)]).toEqual([[2, 2], [0], [3, -4]]);
    expect(out.filter((x) => x !== 0)).toHaveLength(4);
  });
});
