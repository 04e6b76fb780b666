import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createPair,
  disagreement,
  floats,
  integers,
  normal,
  type Pair,
} from '../../../test/engine/agreement.js';
import type { HostTensor, NamedHostTensors, NamedTensors, Scalar, Tensor } from '../tensors.js';
import * as tf from '../tf.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

const oddNumbers = floats(
  [2, 4],
  Number.NaN,
  Number.POSITIVE_INFINITY,
  -1.5,
  0,
  2.5,
  Number.NEGATIVE_INFINITY,
  -0,
  0.5,
);
const positive = (seed: string, ...shape: number[]): HostTensor => {
  const { data } = normal(seed, ...shape);
  return { shape, data: (data as Float32Array).map((x) => Math.abs(x) + 0.1) };
};
const unit = (seed: string, ...shape: number[]): HostTensor => {
  const { data } = normal(seed, ...shape);
  return { shape, data: (data as Float32Array).map((x) => Math.tanh(x) * 0.9) };
};
const x34 = normal('x', 3, 4);
const y34 = normal('y', 3, 4);
const wide = { shape: [3, 4], data: (normal('w', 3, 4).data as Float32Array).map((x) => 20 * x) };

type Case = readonly [
  name: string,
  fn: (x: Tensor, y: Tensor) => Tensor | Tensor[],
  x: HostTensor,
  y?: HostTensor,
];

/** With their gradients with respect to every float input. */
const differentiable: readonly Case[] = [
  ['add, broadcast', (x, y) => tf.add(x, y), x34, normal('b', 4)],
  ['sub, broadcast over the middle', (x, y) => tf.sub(x, y), normal('a', 2, 3, 4), normal('b', 2, 1, 4)],
  ['mul', (x, y) => tf.mul(x, y), x34, y34],
  ['mul by a scalar', (x, y) => tf.mul(x, y), x34, floats([], 1.5)],
  ['div', (x, y) => tf.div(x, y), x34, positive('d', 3, 4)],
  ['pow', (x, y) => tf.pow(x, y), positive('p', 3, 4), y34],
  ['pow 2', (x) => tf.pow(x, 2), x34],
  ['pow 3', (x) => tf.pow(x, 3), x34],
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
  [
    'outerProduct',
    (x, y) => tf.outerProduct(x as tf.Tensor1D, y as tf.Tensor1D),
    normal('a', 3),
    normal('b', 4),
  ],
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

/** Values only: no gradient is defined, or the results are no floats. */
const valuesOnly: readonly Case[] = [
  ['matMul, one matrix for the batch', (x, y) => tf.matMul(x, y), normal('a', 2, 3, 4), normal('b', 1, 4, 5)],
  [
    'gatherND',
    (x) =>
      tf.gatherND(
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
  // One each: TensorFlow.js' own kernel on the CPU writes into its input.
  [
    'tensorScatterUpdate',
    (x, y) => tf.tensorScatterUpdate(x, tf.tensor2d([[2], [0]], undefined, 'int32'), tf.slice(y, 0, 2)),
    x34,
    y34,
  ],
  [
    'tensorScatterUpdate of one element',
    (x, y) =>
      tf.tensorScatterUpdate(x, tf.tensor2d([[2, 3]], undefined, 'int32'), tf.reshape(tf.sum(y), [1])),
    x34,
    y34,
  ],
  ['einsum of a product', (x, y) => tf.einsum('ij,jk->ik', x, y), x34, normal('m', 4, 5)],
  ['where', (x, y) => tf.where(tf.greater(x, 0), x, y), x34, y34],
  [
    'where with a broadcast condition',
    (x, y) => tf.where(tf.greater(tf.slice(x, [0, 0], [3, 1]), 0), x, y),
    x34,
    y34,
  ],
  ['cumsum over axis 0', (x) => tf.cumsum(x, 0, true, true), x34],

  ['divNoNan', (x, y) => tf.divNoNan(x, y), floats([3], 1, 2, 0), floats([3], 0, 4, 0)],
  ['minimum, broadcast', (x, y) => tf.minimum(x, y), x34, normal('b', 4)],
  [
    'atan2 on the axes',
    (x, y) => tf.atan2(x, y),
    floats([6], 0, 0, 1, -1, 1, -1),
    floats([6], 1, -1, 0, 0, -1, -1),
  ],
  [
    'comparisons',
    (x, y) => [tf.greater(x, y), tf.greaterEqual(x, y), tf.less(x, y), tf.lessEqual(x, y)],
    x34,
    normal('b', 4),
  ],
  [
    'equality',
    (x, y) => [tf.equal(x, y), tf.notEqual(x, y)],
    integers([4], 1, 2, 3, 4),
    integers([4], 1, 0, 3, 0),
  ],
  [
    'logic',
    (x, y) => {
      const [a, b] = [tf.greater(x, 0), tf.greater(y, 0)];
      return [tf.logicalAnd(a, b), tf.logicalOr(a, b), tf.logicalXor(a, b), tf.logicalNot(a), tf.equal(a, b)];
    },
    x34,
    y34,
  ],
  ['any and all', (x) => [tf.any(tf.greater(x, 1), 1), tf.all(tf.greater(x, -1), 0)], x34],
  [
    'rounding',
    (x) => [tf.floor(x), tf.ceil(x), tf.round(x), tf.sign(x)],
    floats([6], -1.5, -0.5, 0.5, 1.5, 2.5, 0),
  ],
  ['isNaN, isFinite, isInf', (x) => [tf.isNaN(x), tf.isFinite(x), tf.isInf(x)], oddNumbers],
  ['step of odd numbers', (x) => tf.step(x), floats([4], -1, 0, 2, -0)],
  ['arguments of extremes', (x) => [tf.argMax(x, 1), tf.argMin(x, 0)], x34],
  ['argMax takes the first of equals', (x) => tf.argMax(x), floats([4], 1, 3, 3, 2)],
  ['topk', (x) => [tf.topk(x, 2).values, tf.topk(x, 3).indices], x34],
  ['topk of equals', (x) => tf.topk(x, 3).indices, floats([5], 1, 2, 1, 2, 2)],
  ['topk of integers', (x) => tf.topk(x, 2).values, integers([4], 3, 9, -1, 4)],
  [
    'ranking by comparisons',
    (x) => tf.sum(tf.cast(tf.greater(tf.expandDims(x, 0), tf.expandDims(x, 1)), 'int32'), 0),
    x34,
  ],
  ['oneHot', (x) => tf.oneHot(x as tf.Tensor1D, 4), integers([4], 0, 3, -1, 4)],
  ['oneHot with values', (x) => tf.oneHot(x as tf.Tensor1D, 3, 2, -1, 'float32'), integers([2], 0, 2)],
  [
    'gather in batches',
    (x, y) => tf.gather(x, tf.cast(y, 'int32'), 1, 1),
    x34,
    integers([3, 2], 0, 3, 1, 1, 2, 0),
  ],
  [
    'gather in batches along axis 2',
    (x, y) => tf.gather(x, tf.cast(y, 'int32'), 2, 1),
    normal('a', 2, 3, 4),
    integers([2, 2], 0, 3, 1, 1),
  ],
  ['cumprod', (x) => [tf.cumprod(x, 1), tf.cumprod(x, 0, true), tf.cumprod(x, 1, true, true)], x34],
  [
    'stridedSlice',
    (x) => [tf.stridedSlice(x, [0, 1], [3, 4], [2, 2]), tf.stridedSlice(x, [2, 3], [0, 0], [-1, -2])],
    x34,
  ],
  ['stridedSlice with masks', (x) => tf.stridedSlice(x, [0, 1], [0, 2], [1, 1], 1, 1, 0, 0, 2), x34],
  [
    'integer arithmetic',
    (x, y) => [tf.add(x, y), tf.mul(x, y), tf.sub(x, y), tf.floorDiv(x, y), tf.mod(x, y), tf.maximum(x, y)],
    integers([4], 7, -7, 7, -7),
    integers([4], 2, 2, -2, -3),
  ],
  [
    'integer reductions',
    (x) => [tf.sum(x, 0), tf.max(x, 1), tf.prod(x, 1), tf.mean(x)],
    integers([2, 3], 1, 2, 3, 4, 5, 6),
  ],
  [
    'sums of booleans',
    (x) => [tf.sum(tf.greater(x, 0), 0), tf.mean(tf.cast(tf.greater(x, 0), 'float32'))],
    x34,
  ],
  [
    'where of booleans and integers',
    (x) => [
      tf.where(tf.greater(x, 0), tf.less(x, 1), tf.less(x, -1)),
      tf.where(tf.greater(x, 0), tf.ones([3, 4], 'int32'), tf.zeros([3, 4], 'int32')),
    ],
    x34,
  ],
  [
    'casts',
    (x) => [tf.cast(x, 'int32'), tf.cast(x, 'bool'), tf.cast(tf.greater(x, 0), 'float32')],
    floats([5], -1.7, 1.7, 0, 0.3, -0.3),
  ],
  ['mod of floats', (x, y) => tf.mod(x, y), floats([4], 7.5, -7.5, 7.5, -7.5), floats([4], 2, 2, -2, -3)],
  [
    'fill, range, linspace, eye',
    () => [
      tf.fill([2, 3], 7),
      tf.range(0, 5, 2, 'int32'),
      tf.linspace(0, 1, 5),
      tf.eye(3),
      tf.zeros([2]),
      tf.ones([2], 'bool'),
    ],
    x34,
  ],
  ['zerosLike, onesLike', (x) => [tf.zerosLike(x), tf.onesLike(x)], x34],
  ['scatterND', (x) => tf.scatterND(tf.tensor2d([[1], [3], [1]], undefined, 'int32'), x, [5, 4]), x34],
  [
    'einsum in batches',
    (x, y) => tf.einsum('bij,bjk->bik', x, y),
    normal('a', 2, 3, 4),
    normal('b', 2, 4, 5),
  ],
  ['split of three', (x) => tf.split(x, 3, 0), x34],
  ['an input handed back', (x) => x, x34],
  ['a constant', () => tf.tensor1d([1, 2, 3]), x34],
  ['booleans', (x) => tf.greater(x, 0), x34],
];

function named(result: Tensor | Tensor[]): NamedTensors {
  const list = Array.isArray(result) ? result : [result];
  return Object.fromEntries(list.map((tensor, i) => [`result ${i}`, tensor]));
}

/** The second input, or the first where there is one only. */
const other = (inputs: NamedTensors): Tensor => ('y' in inputs ? inputs.y! : inputs.x!);

function inputsOf(x: HostTensor, y: HostTensor | undefined): NamedHostTensors {
  return y === undefined ? { x } : { x, y };
}

describe('values and gradients', () => {
  for (const [name, fn, x, y] of differentiable)
    it(name, async () => {
      const both = (inputs: NamedTensors): NamedTensors => {
        const result = named(fn(inputs.x!, other(inputs)));
        // Each element weighs differently, so that no two places of a gradient can be confused.
        const loss = (...values: Tensor[]): Scalar => {
          const parts = Object.values(named(fn(values[0]!, values[1] ?? values[0]!))).map((tensor) =>
            tf.sum(tf.mul(tensor, tf.reshape(tf.linspace(1, 2, tensor.size), tensor.shape))),
          );
          return tf.addN(parts) as Scalar;
        };
        const gradients = tf.grads(loss)('y' in inputs ? [inputs.x!, inputs.y!] : [inputs.x!]);
        return { ...result, dx: gradients[0]!, ...(gradients[1] === undefined ? {} : { dy: gradients[1] }) };
      };
      const { eager, traced } = await pair.run(both, inputsOf(x, y));
      expect(disagreement(eager, traced)).toBeUndefined();
    });
});

describe('values', () => {
  for (const [name, fn, x, y] of valuesOnly)
    it(name, async () => {
      const { eager, traced } = await pair.run(
        (inputs) => named(fn(inputs.x!, other(inputs))),
        inputsOf(x, y),
      );
      expect(disagreement(eager, traced)).toBeUndefined();
    });
});
