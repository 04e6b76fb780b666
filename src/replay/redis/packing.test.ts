import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PmpoError } from '../../core/errors.js';
import { ChunkBuilder, unpackChunk } from './packing.js';

const float = fc.float({ noNaN: true });
const row = (...values: number[]) => Float32Array.from(values);
const floats = (length: number) =>
  fc.array(float, { minLength: length, maxLength: length }).map((values) => row(...values));
const chunks = fc
  .record({ o: fc.integer({ min: 1, max: 9 }), a: fc.integer({ min: 1, max: 5 }) })
  .chain(({ o, a }) =>
    fc.record({
      shape: fc.constant({ observationSize: o, actionSize: a }),
      rows: fc.array(fc.tuple(floats(o), floats(a), float, float, floats(o)), { maxLength: 8 }),
      // Bytes from a socket may start at any address.
      offset: fc.integer({ min: 0, max: 7 }),
    }),
  );

describe('chunks', () => {
  it('are unpacked bit for bit and in order, at any alignment of their bytes', () => {
    fc.assert(
      fc.property(chunks, ({ shape, rows, offset }) => {
        const builder = new ChunkBuilder(shape, 8);
        for (const transition of rows) builder.add(...transition);
        expect(builder.count).toBe(rows.length);
        const taken = builder.take();
        expect(builder.count).toBe(0);
        const moved = new Uint8Array(offset + taken.length);
        moved.set(taken, offset);
        const found: unknown[] = [];
        unpackChunk(moved.subarray(offset), rows.length, shape, (x, y, value, discount, next) =>
          found.push([x.slice(), y.slice(), value, discount, next.slice()]),
        );
        expect(found).toEqual(rows);
      }),
    );
  });

  it('do not change when rows are added after they were taken', () => {
    const builder = new ChunkBuilder({ observationSize: 1, actionSize: 1 }, 2);
    builder.add(row(1), row(2), 3, 4, row(5));
    const first = builder.take();
    builder.add(row(9), row(9), 9, 9, row(9));
    expect([...new Float32Array(Uint8Array.from(first).buffer)]).toEqual([1, 2, 3, 4, 5]);
    builder.clear();
    expect(builder.take()).toHaveLength(0);
  });

  it('hold no more than their capacity', () => {
    const builder = new ChunkBuilder({ observationSize: 1, actionSize: 1 }, 1);
    builder.add(row(1), row(2), 3, 4, row(5));
    expect(() => builder.add(row(1), row(2), 3, 4, row(5))).toThrow(RangeError);
  });

  it.each([
    [1, 4],
    [2, 19],
    [-1, 0],
    [0.5, 10],
  ])('of %s transitions in %s bytes are refused', (count, bytes) => {
    const shape = { observationSize: 1, actionSize: 1 };
    const unpack = () => unpackChunk(new Uint8Array(bytes), count, shape, () => {});
    expect(unpack).toThrow(PmpoError);
    expect(unpack).toThrow(/a chunk of .* transitions has .* bytes/);
  });
});
