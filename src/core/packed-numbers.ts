import { deflateSync, inflateSync, strFromU8, strToU8 } from 'fflate';

/**
 * Numbers in a few bytes of text, for pages: each column has 65,536 levels between its smallest and its largest value. Works in
 * browsers as well. Shapes: R rows, C columns.
 */

/** A matrix as text. */
export interface PackedNumbers {
  readonly rows: number;
  readonly columns: number;
  /** The smallest value of each column, and the difference of two levels, [C]. */
  readonly low: readonly number[];
  readonly step: readonly number[];
  /** The differences of levels from row to row, column after column, deflated, in base64. */
  readonly data: string;
}

const levels = 65_535;

function toBase64(bytes: Uint8Array): string {
  return btoa(strFromU8(bytes, true));
}

function fromBase64(text: string): Uint8Array {
  return strToU8(atob(text), true);
}

/** Bytes as text: deflated, in base64. */
export function packBytes(bytes: Uint8Array): string {
  return toBase64(deflateSync(bytes, { level: 9 }));
}

/** The bytes that `packBytes` was given. */
export function unpackBytes(text: string): Uint8Array {
  return inflateSync(fromBase64(text));
}

/** Rounds numbers to levels. What is not finite becomes the column's smallest value. @param values [R, C], row after row. */
export function packNumbers(values: ArrayLike<number>, columns: number): PackedNumbers {
  const rows = columns === 0 ? 0 : values.length / columns;
  const low: number[] = [];
  const step: number[] = [];
  // The two bytes of each difference are stored apart, which deflates better.
  const bytes = new Uint8Array(2 * rows * columns);
  const high = rows * columns;
  for (let c = 0; c < columns; c++) {
    let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let r = 0; r < rows; r++) {
      const value = values[r * columns + c]!;
      if (!Number.isFinite(value)) continue;
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
    if (least > most) [least, most] = [0, 0];
    const size = (most - least) / levels;
    low.push(least);
    step.push(size);
    let last = 0;
    for (let r = 0; r < rows; r++) {
      const value = values[r * columns + c]!;
      const level = size === 0 || !Number.isFinite(value) ? 0 : Math.round((value - least) / size);
      const difference = (level - last) & 0xffff;
      last = level;
      bytes[c * rows + r] = difference & 0xff;
      bytes[high + c * rows + r] = difference >> 8;
    }
  }
  return { rows, columns, low, step, data: packBytes(bytes) };
}

/** The numbers that `packNumbers` was given, to half a level. [R, C], row after row. */
export function unpackNumbers({ rows, columns, low, step, data }: PackedNumbers): Float32Array {
  const bytes = unpackBytes(data);
  const values = new Float32Array(rows * columns);
  const high = rows * columns;
  for (let c = 0; c < columns; c++) {
    let level = 0;
    for (let r = 0; r < rows; r++) {
      const at = c * rows + r;
      level = (level + bytes[at]! + (bytes[high + at]! << 8)) & 0xffff;
      values[r * columns + c] = low[c]! + level * step[c]!;
    }
  }
  return values;
}
