import { expect, it } from 'vitest';
import { overParts } from '../parts.js';
import type { NamedTensors, Tensor } from '../tensors.js';
import * as tf from '../tf.js';
import { fuse } from './fuse.js';
import { reachable } from './graph.js';
import { Tracer } from './trace.js';

function layerNorm(x: Tensor, scale: Tensor, offset: Tensor): Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), scale), offset);
}

/** The operators in the body of the Scan that computes `fn` of each part of x, after fusion. */
function operatorsOfPart(fn: (x: Tensor, others: NamedTensors) => Tensor): readonly string[] {
  const shapes = { x: [4, 6], table: [5, 6], scale: [6], offset: [6] };
  const types = new Map(
    Object.entries(shapes).map(([name, shape]) => [name, { dtype: 'float32', shape }] as const),
  );
  const { outputs } = new Tracer().trace('parts', inParts, types);
  function inParts({ x, ...others }: NamedTensors): NamedTensors {
    return overParts({ x: x! }, 2, (part) => ({ sums: { sum: fn(part.x, others) }, rows: {} })).sums;
  }
  fuse(outputs.map(({ value }) => value));
  const { body } = outputs[0]!.value.node!;
  return reachable(body!.outputs, new Set(body!.captured)).nodes.map(({ operator }) => operator);
}

it('the layer normalization of a part is one node', () => {
  const operators = operatorsOfPart((x, { scale, offset }) => tf.sum(layerNorm(x, scale!, offset!), 0));
  expect(operators).toContain('LayerNormalization');
  expect(operators).not.toContain('Sqrt');
});

it('a normalization that all parts share is computed outside of them', () => {
  const operators = operatorsOfPart((x, { table }) =>
    layerNorm(table!, tf.sum(x, 0), tf.sum(tf.square(x), 0)),
  );
  expect(operators).not.toContain('LayerNormalization');
  expect(operators).not.toContain('Sqrt');
});
