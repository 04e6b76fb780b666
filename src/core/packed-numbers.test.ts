import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packBytes, packNumbers, unpackBytes, unpackNumbers } from './packed-numbers.js';

describe('packNumbers', () => {
  it('keeps every number to half of a 65,535th of its column', () => {
    const columns = fc.integer({ min: 1, max: 5 });
    const number = fc.double({ min: -1e3, max: 1e3, noNaN: true });
    const matrices = columns.chain((c) =>
      fc.array(fc.array(number, { minLength: c, maxLength: c }), { minLength: 1, maxLength: 40 }),
    );
    fc.assert(
      fc.property(matrices, (rows) => {
        const c = rows[0]!.length;
        const packed = packNumbers(rows.flat(), c);
        const read = unpackNumbers(packed);
        for (const [r, row] of rows.entries())
          for (const [i, value] of row.entries())
            expect(Math.abs(read[r * c + i]! - value)).toBeLessThanOrEqual(packed.step[i]! / 2 + 1e-3);
      }),
    );
  });

  it('takes constant, empty and infinite columns', () => {
    expect([...unpackNumbers(packNumbers([3, 3, 3], 1))]).toEqual([3, 3, 3]);
    expect([...unpackNumbers(packNumbers([], 2))]).toEqual([]);
    expect([...unpackNumbers(packNumbers([1, Number.NaN, 2], 1))]).toEqual([1, 1, 2]);
  });

  it('makes a smooth motion small', () => {
    const rows = 1000;
    const motion = Float32Array.from({ length: rows * 7 }, (_, i) => Math.sin(i / 700 + (i % 7)));
    expect(packNumbers(motion, 7).data.length).toBeLessThan(12_000);
  });
});

describe('packBytes', () => {
  it('gives the bytes back', () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * i) % 256);
    expect(unpackBytes(packBytes(bytes))).toEqual(bytes);
  });
});
