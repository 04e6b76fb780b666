import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect } from 'vitest';
import * as tf from '../../src/engine/tf.js';

/** Nested arrays of numbers, as fixtures hold them. */
export type Numbers = number | readonly Numbers[];

/** Reads the JSON file, compressed or not, that the Python script of the same name in this folder has written. */
export function readFixture<T>(name: string): T {
  const plain = new URL(`${name}.json`, import.meta.url);
  const compressed = new URL(`${name}.json.gz`, import.meta.url);
  const text = existsSync(plain)
    ? readFileSync(plain, 'utf8')
    : gunzipSync(readFileSync(compressed)).toString();
  return JSON.parse(text) as T;
}

/** Converts numbers to a float32 tensor. */
export function tensor<T extends tf.Tensor>(numbers: Numbers): T {
  return tf.tensor(numbers as number[], undefined, 'float32') as T;
}

/** Expects a shape, and every number within `tolerance`, which is relative for numbers greater than 1. */
export function expectClose(actual: tf.Tensor, expected: Numbers, label: string, tolerance = 1e-5): void {
  const wanted = tensor(expected);
  expect(actual.shape, `shape of ${label}`).toEqual(wanted.shape);
  const [got, want] = [actual.dataSync(), wanted.dataSync()];
  for (let i = 0; i < want.length; i++) {
    const error = Math.abs(got[i] - want[i]) / Math.max(1, Math.abs(want[i]));
    // The negated comparison fails for NaN.
    if (!(error <= tolerance)) expect.fail(`${label}[${i}] is ${got[i]}; the reference is ${want[i]}`);
  }
}
