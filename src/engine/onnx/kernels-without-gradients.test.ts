import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createPair,
  disagreement,
  floats,
  integers,
  normal,
  type Pair,
} from '../../../test/engine/agreement.js';
import { type Case, inputsOf, named, other, x34, y34 } from '../../../test/engine/kernel-cases.js';
import * as tf from '../tf.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

const specialNumbers = floats(
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

/** Cases without a gradient, or with results that are not floats. */
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
  ['isNaN, isFinite, isInf', (x) => [tf.isNaN(x), tf.isFinite(x), tf.isInf(x)], specialNumbers],
  ['step of special numbers', (x) => tf.step(x), floats([4], -1, 0, 2, -0)],
  ['arguments of extremes', (x) => [tf.argMax(x, 1), tf.argMin(x, 0)], x34],
  ['argMax of equal values', (x) => tf.argMax(x), floats([4], 1, 3, 3, 2)],
  ['topk', (x) => [tf.topk(x, 2).values, tf.topk(x, 3).indices], x34],
  ['topk of equals', (x) => tf.topk(x, 3).indices, floats([5], 1, 2, 1, 2, 2)],
  ['topk of integers', (x) => tf.topk(x, 2).values, integers([4], 3, 9, -1, 4)],
  [
    'ranking by comparisons',
    (x) => tf.sum(tf.cast(tf.greater(tf.expandDims(x, 0), tf.expandDims(x, 1)), 'int32'), 0),
    x34,
  ],
  ['oneHot', (x) => tf.oneHot(x, 4), integers([4], 0, 3, -1, 4)],
  ['oneHot with values', (x) => tf.oneHot(x, 3, 2, -1, 'float32'), integers([2], 0, 2)],
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
  ['an input as the result', (x) => x, x34],
  ['a constant', () => tf.tensor1d([1, 2, 3]), x34],
  ['booleans', (x) => tf.greater(x, 0), x34],
];

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
