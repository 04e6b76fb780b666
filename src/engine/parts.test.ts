import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPair, disagreement, integers, normal, type Pair } from '../../test/engine/agreement.js';
import { createEngine } from './create.js';
import type { Engine } from './engine.js';
import { int32Result } from './host-tensors.js';
import { overParts } from './parts.js';
import type { NamedHostTensors, NamedTensors, Scalar, Variable } from './tensors.js';
import * as tf from './tf.js';

const [B, D, V] = [12, 6, 9];
const inputs = {
  tokens: integers([B, 3], ...Array.from({ length: 3 * B }, (_, i) => (i * 5 + 2) % V)),
  x: normal('x', B, D),
};

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

/**
 * The gradients of a model whose embedding is also its output layer, with one of each kind of gradient: of products, of a gather, of both
 * together, of rows, and 0; and results for each example.
 */
function gradientsOf(engine: Engine, name: string) {
  const variable = (label: string, ...shape: number[]) =>
    engine.variable(`${name} ${label}`, normal(label, ...shape));
  const variables: Record<string, Variable> = {
    embedding: variable('embedding', V, D),
    left: variable('left', D, D),
    right: variable('right', D, D),
    scale: variable('scale', D),
    unused: variable('unused', 2, 2),
  };
  return (parts: number) =>
    engine.jit(`${name} in ${parts}`, (all: { readonly tokens: tf.Tensor2D; readonly x: tf.Tensor2D }) => {
      const { sums, rows } = overParts(all, parts, ({ tokens, x }) => {
        const { embedding, left, right, scale, unused } = variables as Record<string, Variable>;
        let perExample: tf.Tensor = x;
        const { value, grads } = tf.variableGrads(() => {
          const embedded = tf.sum(tf.gather(embedding!, tokens as tf.Tensor), 1);
          const hidden = tf.tanh(tf.matMul(tf.add(embedded, x), left!));
          const next = tf.mul(tf.matMul(hidden, right!, false, true), scale!);
          const logits = tf.matMul(next, embedding!, false, true);
          perExample = tf.keep(tf.logSumExp(logits, -1));
          return tf.sum(tf.add(perExample, tf.mul(tf.sum(unused!), 0))) as Scalar;
        }, Object.values(variables));
        const gradients = Object.entries(variables).map(([key, { name }]) => [key, grads[name]!]);
        const sums: NamedTensors = { ...Object.fromEntries(gradients), value, ten: tf.sum(tf.mul(x, 0)) };
        const last = tf.slice(tokens, [0, 2], [-1, 1]);
        const results = { perExample: tf.clone(perExample), last, ones: tf.ones([tokens.shape[0], 2]) };
        perExample.dispose();
        return { sums, rows: results };
      });
      return { ...sums, ...rows, last: int32Result(rows.last) };
    });
}

describe('a batch in parts', () => {
  it.each([1, 2, 3, 12])(
    'gives the same in %i parts as whole, traced or operation by operation',
    async (parts) => {
      const whole = (await gradientsOf(pair.eager, `eager ${parts}`)(1).run(inputs)) as NamedHostTensors;
      for (const engine of [pair.eager, pair.traced]) {
        const found = await gradientsOf(engine, `${engine.name} ${parts}`)(parts).run(inputs);
        expect(disagreement(whole, found as NamedHostTensors)).toBeUndefined();
      }
    },
  );

  it('gives the same bits with any number of threads', async () => {
    const found: NamedHostTensors[] = [];
    for (const threads of [1, 2, 3]) {
      const engine = await createEngine('onnx', { threads });
      found.push((await gradientsOf(engine, 'threads')(3).run(inputs)) as NamedHostTensors);
      await engine.dispose();
    }
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
  });

  it('may be a part of a larger one', async () => {
    const fn = (all: NamedTensors) => {
      const { sums } = overParts(all, 2, (half) =>
        overParts(half, 3, ({ x }) => ({ sums: { squares: tf.sum(tf.square(x!)) }, rows: {} })),
      );
      return sums;
    };
    const { eager, traced } = await pair.run(fn, { x: inputs.x });
    expect(disagreement(eager, traced)).toBeUndefined();
  });

  it('may depend on values that are computed once, and change variables afterwards', async () => {
    const results: NamedHostTensors[] = [];
    for (const engine of [pair.eager, pair.traced]) {
      const total = engine.variable('total', normal('total', D));
      const step = engine.jit('step', ({ x }: { readonly x: tf.Tensor2D }) => {
        const factor = tf.exp(total);
        const { sums } = overParts({ x }, 4, (part) => ({
          sums: { sum: tf.sum(tf.mul(part.x, factor), 0) },
          rows: {},
        }));
        total.assign(tf.mul(sums.sum, 0.1));
        return {};
      });
      for (let i = 0; i < 3; i++) await step.run({ x: inputs.x });
      const [value] = await engine.read([total]);
      results.push({ total: value! });
    }
    expect(disagreement(results[0]!, results[1]!)).toBeUndefined();
  });
});

describe('wrong use is refused', () => {
  const sumOf = (parts: number) => (all: NamedTensors) =>
    overParts(all, parts, ({ x }) => ({ sums: { sum: tf.sum(x!) }, rows: {} })).sums;

  it('a number of parts that does not divide the batch', async () => {
    await expect(pair.traced.jit('five', sumOf(5)).run({ x: inputs.x })).rejects.toThrow(
      /input 'x': its shape \[12,6\] cannot be split into 5 parts/,
    );
  });

  it('inputs of different lengths', async () => {
    const other = { x: inputs.x, y: normal('y', 2, D) };
    await expect(pair.eager.jit('lengths', sumOf(2)).run(other)).rejects.toThrow(/input 'y'/);
  });

  it('a tensor of one part that is used outside of it', async () => {
    const leaking = pair.traced.jit('leaking', (all: { readonly x: tf.Tensor2D }) => {
      let inside: tf.Tensor = all.x;
      const { sums } = overParts(all, 2, ({ x }) => {
        inside = x;
        return { sums: { sum: tf.sum(x) }, rows: {} };
      });
      return { sum: tf.add(sums.sum, tf.sum(inside)) };
    });
    await expect(leaking.run({ x: inputs.x })).rejects.toThrow(/a tensor of one part is used outside of it/);
  });
});
