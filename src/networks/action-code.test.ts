import { beforeAll, expect, it } from 'vitest';
import * as tf from '../engine/tf.js';
import { codeSize, encodeActions } from './action-code.js';

beforeAll(() => tf.setBackend('cpu'));

it('encodes more than two values as one-hot vectors, and leaves other dimensions as they are', () => {
  // A continuous dimension, and dimensions with three, two and one values.
  const values = [0, 3, 2, 1];
  const actions = tf.tensor3d([
    [
      [0.25, -1, -1, 0],
      [-0.5, 0, 1, 0],
    ],
    [
      // Values beyond the bounds count as the bound.
      [2, 1.5, 1, 0],
      [0, -1.2, -1, 0],
    ],
  ]);
  const code = encodeActions(actions, values);
  expect(code.shape).toEqual([2, 2, codeSize(values)]);
  expect(code.arraySync()).toEqual([
    [
      [0.25, 1, 0, 0, -1, 0],
      [-0.5, 0, 1, 0, 1, 0],
    ],
    [
      [2, 0, 0, 1, 1, 0],
      [0, 1, 0, 0, -1, 0],
    ],
  ]);
});

it('distinguishes 4096 values in single precision', () => {
  const count = 4096;
  const chosen = Array.from({ length: 316 }, (_, i) => 13 * i);
  const canonical = Float32Array.from(chosen, (index) => -1 + (2 * index) / (count - 1));
  const code = encodeActions(tf.tensor3d(canonical, [1, chosen.length, 1]), [count]);
  expect([...tf.argMax(code, -1).dataSync()]).toEqual(chosen);
});

it('returns continuous actions themselves', () => {
  const actions = tf.tensor3d([[[0.1, 0.2]]]);
  expect(encodeActions(actions, [0, 0])).toBe(actions);
  expect(codeSize([0, 2])).toBe(2);
});
