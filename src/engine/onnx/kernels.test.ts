import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPair, disagreement, floats, normal, type Pair } from '../../../test/engine/agreement.js';
import {
  type Case,
  inputsOf,
  named,
  other,
  positive,
  unit,
  wide,
  x34,
  y34,
} from '../../../test/engine/kernel-cases.js';
import type { NamedTensors, Scalar, Tensor } from '../tensors.js';
import * as tf from '../tf.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

/** A vector, as TensorFlow.js' types want it. */
const vector = (x: Tensor): tf.Tensor1D => tf.reshape(x, [x.size]);

/** Cases that are tested together with their gradients in every float input. */
const differentiable: readonly Case[] = [
  ['add, broadcast', (x, y) => tf.add(x, y), x34, normal('b', 4)],
  ['sub, broadcast over the middle', (x, y) => tf.sub(x, y), normal('a', 2, 3, 4), normal('b', 2, 1, 4)],
  ['mul', (x, y) => tf.mul(x, y), x34, y34],
  ['mul by a scalar', (x, y) => tf.mul(x, y), x34, floats([], 1.5)],
  ['div', (x, y) => tf.div(x, y), x34, positive('d', 3, 4)],
  ['pow', (x, y) => tf.pow(x, y), positive('p', 3, 4), y34],
  ['pow 2', (x) => tf.pow(x, 2), x34],
  ['pow 3', (x) => tf.pow(x, 3), x34],
  // A number to many powers that are the same.
  ['pow 2, broadcast', (x) => tf.pow(x, tf.fill([5], 2)), floats([], 3)],
  ['pow 2, broadcast over rows', (x) => tf.pow(x, tf.fill([2, 3, 4], 2)), normal('b', 4)],
  ['pow 2 of a number to one of rank 1', (x) => tf.pow(x, tf.tensor1d([2])), floats([], 3)],
  ['pow 1.5', (x) => tf.pow(x, 1.5), positive('p', 3, 4)],
  ['pow 1.5, broadcast', (x) => tf.pow(x, tf.fill([5], 1.5)), floats([], 3)],
  ['pow 1.5, broadcast over columns', (x) => tf.pow(x, tf.fill([3, 4], 1.5)), positive('p', 3, 1)],
  [
    'mul by a constant, broadcast',
    (x, y) => tf.mul(tf.mul(x, tf.fill([3, 4], 2)), y),
    floats([], 3),
    normal('c', 3, 1),
  ],
  ['maximum', (x, y) => tf.maximum(x, y), x34, y34],
  ['minimum', (x, y) => tf.minimum(x, y), x34, y34],
  ['squaredDifference', (x, y) => tf.squaredDifference(x, y), x34, y34],
  ['atan2', (x, y) => tf.atan2(x, y), x34, y34],
  ['addN', (x, y) => tf.addN([x, y, x]), x34, y34],
  ['abs', (x) => tf.abs(x), x34],
  ['neg', (x) => tf.neg(x), x34],
  ['exp', (x) => tf.exp(x), x34],
  ['expm1', (x) => tf.expm1(x), wide],
  ['expm1 near 0', (x) => tf.expm1(tf.mul(x, 1e-4)), x34],
  ['log', (x) => tf.log(x), positive('p', 3, 4)],
  ['log1p', (x) => tf.log1p(x), positive('p', 3, 4)],
  ['log1p near 0', (x) => tf.log1p(tf.mul(x, 1e-4)), x34],
  ['sqrt', (x) => tf.sqrt(x), positive('p', 3, 4)],
  ['rsqrt', (x) => tf.rsqrt(x), positive('p', 3, 4)],
  ['reciprocal', (x) => tf.reciprocal(x), positive('p', 3, 4)],
  ['square', (x) => tf.square(x), x34],
  ['sigmoid', (x) => tf.sigmoid(x), wide],
  ['logSigmoid', (x) => tf.logSigmoid(x), wide],
  ['tanh', (x) => tf.tanh(x), x34],
  ['softplus', (x) => tf.softplus(x), wide],
  ['relu', (x) => tf.relu(x), x34],
  ['relu6', (x) => tf.relu6(x), wide],
  ['leakyRelu', (x) => tf.leakyRelu(x, 0.1), x34],
  ['prelu', (x, y) => tf.prelu(x, y), x34, normal('b', 4)],
  ['elu', (x) => tf.elu(x), x34],
  ['elu of large numbers', (x) => tf.elu(x), floats([6], 100, -100, 1e30, -1e30, 0, Number.NaN)],
  ['selu', (x) => tf.selu(x), x34],
  ['silu', (x) => tf.mul(x, tf.sigmoid(x)), x34],
  ['erf', (x) => tf.erf(x), x34],
  ['sin', (x) => tf.sin(x), x34],
  ['cos', (x) => tf.cos(x), x34],
  ['tan', (x) => tf.tan(x), unit('u', 3, 4)],
  ['asin', (x) => tf.asin(x), unit('u', 3, 4)],
  ['acos', (x) => tf.acos(x), unit('u', 3, 4)],
  ['atan', (x) => tf.atan(x), x34],
  ['sinh', (x) => tf.sinh(x), x34],
  ['cosh', (x) => tf.cosh(x), x34],
  ['asinh', (x) => tf.asinh(x), x34],
  ['acosh', (x) => tf.acosh(tf.add(x, 1.5)), positive('p', 3, 4)],
  ['atanh', (x) => tf.atanh(x), unit('u', 3, 4)],
  ['clipByValue', (x) => tf.clipByValue(x, -0.5, 0.5), x34],
  ['step', (x) => tf.mul(tf.step(x, 0.25), x), x34],
  ['cast to int32 and back', (x) => tf.mul(tf.cast(tf.cast(tf.mul(x, 3), 'int32'), 'float32'), x), x34],
  ['matMul', (x, y) => tf.matMul(x, y), x34, normal('m', 4, 5)],
  ['matMul, left transposed', (x, y) => tf.matMul(x, y, true), x34, normal('m', 3, 5)],
  ['matMul, right transposed', (x, y) => tf.matMul(x, y, false, true), x34, normal('m', 5, 4)],
  ['matMul, both transposed', (x, y) => tf.matMul(x, y, true, true), x34, normal('m', 5, 3)],
  ['matMul of an explicit transpose', (x, y) => tf.matMul(tf.transpose(x), y), x34, normal('m', 3, 5)],
  ['matMul in batches', (x, y) => tf.matMul(x, y), normal('a', 2, 3, 4), normal('b', 2, 4, 5)],
  [
    'matMul in batches, transposed',
    (x, y) => tf.matMul(x, y, true, true),
    normal('a', 2, 3, 4),
    normal('b', 2, 5, 3),
  ],
  [
    'matMul of rank 4',
    (x, y) => tf.matMul(x, y, false, true),
    normal('a', 2, 2, 3, 4),
    normal('b', 2, 2, 5, 4),
  ],
  ['dot', (x, y) => tf.dot(x, y), normal('a', 4), normal('b', 4)],
  ['outerProduct', (x, y) => tf.outerProduct(vector(x), vector(y)), normal('a', 3), normal('b', 4)],
  [
    'fused matMul with bias and relu',
    (x, y) => tf.fused.matMul({ a: x, b: y, bias: tf.ones([5]), activation: 'relu' }),
    x34,
    normal('m', 4, 5),
  ],
  [
    'fused matMul with elu',
    (x, y) => tf.fused.matMul({ a: x, b: y, activation: 'elu' }),
    x34,
    normal('m', 4, 5),
  ],
  ['sum', (x) => tf.sum(x), x34],
  ['sum over axis 0', (x) => tf.sum(x, 0), x34],
  ['sum over the last axis, kept', (x) => tf.sum(x, -1, true), x34],
  ['sum over two axes', (x) => tf.sum(x, [0, 2]), normal('a', 2, 3, 4)],
  ['mean', (x) => tf.mean(x), x34],
  ['mean over an axis', (x) => tf.mean(x, 1), x34],
  ['prod', (x) => tf.prod(x, 1), x34],
  ['max', (x) => tf.max(x, 1), x34],
  ['min', (x) => tf.min(x, 0), x34],
  ['logSumExp', (x) => tf.logSumExp(x, 1), wide],
  ['softmax', (x) => tf.softmax(x), wide],
  ['logSoftmax', (x) => tf.logSoftmax(x), wide],
  ['softmaxCrossEntropy', (x, y) => tf.losses.softmaxCrossEntropy(tf.softmax(y), x), x34, y34],
  ['norm', (x) => tf.norm(x), x34],
  ['moments', (x) => [tf.moments(x, 1).mean, tf.moments(x, 1).variance], x34],
  ['cumsum', (x) => tf.cumsum(x, 1), x34],
  ['reshape', (x) => tf.mul(tf.reshape(x, [2, 6]), 2), x34],
  ['expandDims, squeeze', (x) => tf.squeeze(tf.mul(tf.expandDims(x, 1), 2), [1]), x34],
  ['transpose', (x) => tf.mul(tf.transpose(x, [2, 0, 1]), 2), normal('a', 2, 3, 4)],
  ['concat', (x, y) => tf.concat([x, y, x], 1), x34, normal('b', 3, 2)],
  ['stack', (x, y) => tf.stack([x, y], 1), x34, y34],
  ['unstack', (x) => tf.unstack(x, 1).slice(0, 2), x34],
  ['split', (x) => tf.split(x, 2, 1), x34],
  ['split in sizes', (x) => tf.split(x, [1, 3], 1), x34],
  ['slice', (x) => tf.slice(x, [1, 1], [2, -1]), x34],
  [
    'pad',
    (x) =>
      tf.pad(
        x,
        [
          [1, 0],
          [2, 1],
        ],
        3,
      ),
    x34,
  ],
  ['tile', (x) => tf.tile(x, [2, 3]), x34],
  ['broadcastTo', (x) => tf.broadcastTo(x, [3, 3, 4]), normal('a', 3, 1, 4)],
  ['reverse', (x) => tf.reverse(x, 1), x34],
  ['gather', (x) => tf.gather(x, tf.tensor1d([2, 0, 2, 2], 'int32')), x34],
  ['gather along axis 1', (x) => tf.gather(x, tf.tensor1d([3, 0, 3], 'int32'), 1), x34],
  [
    'gather by a matrix of indices',
    (x) =>
      tf.gather(
        x,
        tf.tensor2d(
          [
            [2, 0],
            [1, 2],
          ],
          undefined,
          'int32',
        ),
      ),
    x34,
  ],
  ['unsortedSegmentSum', (x) => tf.unsortedSegmentSum(x, tf.tensor1d([1, 0, 1], 'int32'), 3), x34],
  ['where', (x, y) => tf.where(tf.greater(tf.linspace(-1, 1, 4), 0), x, y), x34, y34],
  ['cumsum over the last axis, exclusive and reversed', (x) => tf.cumsum(x, 1, true, true), x34],
];

describe('values and gradients', () => {
  for (const [name, fn, x, y] of differentiable)
    it(name, async () => {
      const both = (inputs: NamedTensors): NamedTensors => {
        const result = named(fn(inputs.x!, other(inputs)));
        // Each element has another weight, so that swapped elements of a gradient are noticed.
        const loss = (...values: Tensor[]): Scalar => {
          const parts = Object.values(named(fn(values[0]!, values[1] ?? values[0]!))).map(
            (tensor): Scalar =>
              tf.sum(tf.mul(tensor, tf.reshape(tf.linspace(1, 2, tensor.size), tensor.shape))),
          );
          return tf.addN(parts);
        };
        const gradients = tf.grads(loss)('y' in inputs ? [inputs.x!, inputs.y!] : [inputs.x!]);
        return { ...result, dx: gradients[0]!, ...(gradients[1] === undefined ? {} : { dy: gradients[1] }) };
      };
      const { eager, traced } = await pair.run(both, inputsOf(x, y));
      expect(disagreement(eager, traced)).toBeUndefined();
    });
});
