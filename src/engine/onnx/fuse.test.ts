import { describe, expect, it } from 'vitest';
import { createPair, disagreement, floats, normal } from '../../../test/engine/agreement.js';
import { createEngine } from '../create.js';
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

describe('a sum of squares', () => {
  const types = new Map([['x', { dtype: 'float32', shape: [3, 50] }]] as const);

  /** The operators of the graph that computes `fn`, after fusion. */
  function operatorsOf(fn: (x: Tensor) => NamedTensors, squares = true): readonly string[] {
    const { outputs } = new Tracer().trace('sum', ({ x }: NamedTensors) => fn(x!), types);
    const values = outputs.map(({ value }) => value);
    fuse(values, { squares });
    return reachable(values).nodes.map(({ operator }) => operator);
  }

  it('is one node', () => {
    expect(operatorsOf((x) => ({ y: tf.sum(tf.square(x)) }))).toEqual(['ReduceSumSquare']);
    expect(operatorsOf((x) => ({ y: tf.sum(tf.mul(x, x), 1, true) }))).toEqual(['ReduceSumSquare']);
  });

  it('is two nodes in an exported model, as its readers know them', () => {
    expect(operatorsOf((x) => ({ y: tf.sum(tf.square(x)) }), false)).toEqual(['Mul', 'ReduceSum']);
  });

  it('is two nodes if the squares are used elsewhere, or the factors differ', () => {
    const twice = operatorsOf((x) => {
      const squares = tf.square(x);
      return { squares, y: tf.sum(squares) };
    });
    expect(twice).toEqual(['Mul', 'ReduceSum']);
    expect(operatorsOf((x) => ({ y: tf.sum(tf.mul(x, tf.exp(x))) }))).toEqual(['Exp', 'Mul', 'ReduceSum']);
  });

  it('agrees with the engine cpu', async () => {
    const pair = await createPair();
    const fn = ({ x }: NamedTensors) => ({
      all: tf.sum(tf.square(x!)),
      rows: tf.sum(tf.square(x!), 1, true),
      broadcast: tf.sum(tf.square(tf.broadcastTo(x!, [2, ...x!.shape]))),
    });
    for (const x of [
      normal('x', 3, 50),
      floats([1, 3], 1, Number.NaN, 2),
      floats([2, 2], 1e15, -1e15, 1e-30, 0),
    ]) {
      const { eager, traced } = await pair.run(fn, { x });
      expect(disagreement(eager, traced)).toBeUndefined();
    }
    await pair.dispose();
  });

  it('has the same bits on one thread and on two', async () => {
    const sums = await Promise.all(
      [1, 2].map(async (threads) => {
        const engine = await createEngine('onnx', { threads });
        const sum = engine.jit('sum', ({ x }: { x: Tensor }) => ({ y: tf.sum(tf.square(x)) }));
        const { y } = await sum.run({ x: normal('x', 150_001) });
        await engine.dispose();
        return y.data[0];
      }),
    );
    expect(sums[0]).toBe(sums[1]);
  });
});
