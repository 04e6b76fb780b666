import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createPair,
  disagreement,
  floats,
  integers,
  normal,
  type Pair,
} from '../../test/engine/agreement.js';
import type { NamedTensors, Scalar, Tensor1D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { rotaryTables, rotate } from './rotary.js';

const [B, T, heads, width] = [3, 5, 2, 16];
const config = { contextLength: 32, width, heads, ropeTheta: 10_000 };
const factor = 0.3;

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

/** The rotation in double precision: each pair of dimensions is a complex number, times factor·exp(i·angle). */
function rotated(
  x: Float32Array,
  positionOf: (row: number) => number,
  direction: 1 | -1 = 1,
): Float32Array<ArrayBuffer> {
  const result = new Float32Array(x.length);
  const d = width / heads;
  for (let row = 0; row < x.length / width; row++) {
    for (let pair = 0; pair < width / 2; pair++) {
      const i = pair % (d / 2);
      const at = row * width + Math.floor(pair / (d / 2)) * d + i;
      const angle = direction * positionOf(row) * config.ropeTheta ** ((-2 * i) / d);
      const [re, im] = [x[at]!, x[at + d / 2]!];
      result[at] = factor * (re * Math.cos(angle) - im * Math.sin(angle));
      result[at + d / 2] = factor * (re * Math.sin(angle) + im * Math.cos(angle));
    }
  }
  return result;
}

describe('the rotation', () => {
  it('turns by the position in the sequence, and its gradient turns back', async () => {
    const x = normal('x', B, T, width);
    const weight = normal('weight', B, T, width);
    const fn = (inputs: NamedTensors) => {
      const turned = (of: tf.Tensor) => rotate(of, rotaryTables(config, T, factor));
      const gradient = tf.grad((of: tf.Tensor) => tf.sum(tf.mul(turned(of), inputs.weight!)) as Scalar);
      return { result: turned(inputs.x!), gradient: gradient(inputs.x!) };
    };
    const { eager, traced } = await pair.run(fn, { x, weight });
    const wanted = {
      result: floats([B, T, width], ...rotated(x.data, (row) => row % T)),
      gradient: floats([B, T, width], ...rotated(weight.data, (row) => row % T, -1)),
    };
    expect(disagreement(wanted, eager, 1e-6)).toBeUndefined();
    expect(disagreement(wanted, traced, 1e-6)).toBeUndefined();
  });

  it('turns one token of each sequence by its own position', async () => {
    const x = normal('x', B, 1, width);
    const positions = integers([B], 7, 0, 31);
    const fn = (inputs: NamedTensors) => ({
      result: rotate(inputs.x!, rotaryTables(config, 32, factor), inputs.positions as Tensor1D),
    });
    const { eager, traced } = await pair.run(fn, { x, positions });
    const wanted = { result: floats([B, 1, width], ...rotated(x.data, (row) => positions.data[row]!)) };
    expect(disagreement(wanted, eager, 1e-6)).toBeUndefined();
    expect(disagreement(wanted, traced, 1e-6)).toBeUndefined();
  });
});
