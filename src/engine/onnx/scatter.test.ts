import { describe, expect, it } from 'vitest';
import { scatterRows } from './scatter.js';

const data = () => Float32Array.from({ length: 12 }, (_, i) => i);

describe('rows written into an array of [2, 3, 2]', () => {
  it('replace rows along the first axes', () => {
    const rows = data();
    scatterRows(rows, [2, 3, 2], Int32Array.of(0, 1, 1, 2), 2, Float32Array.of(-1, -2, -3, -4));
    expect([...rows]).toEqual([0, 1, -1, -2, 4, 5, 6, 7, 8, 9, -3, -4]);
    const blocks = data();
    scatterRows(blocks, [2, 3, 2], Int32Array.of(1), 1, Float32Array.of(1, 1, 1, 1, 1, 1));
    expect([...blocks]).toEqual([0, 1, 2, 3, 4, 5, 1, 1, 1, 1, 1, 1]);
    const single = data();
    scatterRows(single, [2, 3, 2], Int32Array.of(1, 0, 1), 3, Float32Array.of(50));
    expect([...single]).toEqual([0, 1, 2, 3, 4, 5, 6, 50, 8, 9, 10, 11]);
  });

  it('count from the end if the index is negative; the last of two with the same index wins', () => {
    const rows = data();
    scatterRows(rows, [2, 3, 2], Int32Array.of(-2, -1, 0, 2), 2, Float32Array.of(1, 1, 9, 9));
    expect([...rows]).toEqual([0, 1, 2, 3, 9, 9, 6, 7, 8, 9, 10, 11]);
  });

  it.each([
    [0, 3, /index 3 is out of bounds for axis 1 of the shape \[2,3,2\]/],
    [-3, 0, /index -3 is out of bounds for axis 0/],
  ])('are all refused if one index is [%d, %d]', (i, j, message) => {
    const rows = data();
    const write = () => scatterRows(rows, [2, 3, 2], Int32Array.of(0, 0, i, j), 2, new Float32Array(4));
    expect(write).toThrow(message);
    expect(rows).toEqual(data());
  });
});
