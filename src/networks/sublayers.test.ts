import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPair, disagreement, normal, type Pair } from '../../test/engine/agreement.js';
import { rmsNormWithInverse } from '../engine/fused.js';
import type { NamedTensors, Scalar, Tensor } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { attention, rmsNorm, swiglu } from './sublayers.js';

/** Every function against one that is composed of TensorFlow.js' operations and has the gradients of these. */

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

type Sublayer = (...inputs: Tensor[]) => Tensor;

/** The value of a function, and the gradients of a weighted sum of its elements in all inputs. */
const withGradients = (fn: Sublayer) => (inputs: NamedTensors) => {
  const { weight, ...rest } = inputs;
  const gradients = tf.valueAndGrads((...xs: Tensor[]) => tf.sum(tf.mul(fn(...xs), weight!)) as Scalar);
  const tensors = Object.values(rest);
  const { value, grads } = gradients(tensors);
  return { value, result: fn(...tensors), ...Object.fromEntries(grads.map((g, i) => [`gradient ${i}`, g])) };
};

const epsilon = 1e-5;
const mask = () => tf.mul(tf.sub(1, tf.linalg.bandPart(tf.ones([5, 5]), -1, 0)), -1e9);
const cases: Record<string, { fn: Sublayer; composed: Sublayer; shapes: number[][]; result: number[] }> = {
  rmsNorm: {
    fn: (x, scale) => rmsNorm(x!, scale!, epsilon),
    composed: (x, scale) =>
      tf.mul(tf.div(x!, tf.sqrt(tf.add(tf.mean(tf.square(x!), -1, true), epsilon))), scale!),
    shapes: [[7, 6], [6]],
    result: [7, 6],
  },
  swiglu: {
    fn: (gate, up) => swiglu(gate!, up!),
    composed: (gate, up) => tf.mul(tf.div(gate!, tf.add(1, tf.exp(tf.neg(gate!)))), up!),
    shapes: [
      [7, 6],
      [7, 6],
    ],
    result: [7, 6],
  },
  attention: {
    fn: (q, k, v) => attention(q!, k!, v!, mask()),
    composed: (q, k, v) => {
      const scores = tf.exp(tf.add(tf.matMul(q!, k!, false, true), mask()));
      return tf.matMul(tf.div(scores, tf.sum(scores, -1, true)), v!);
    },
    shapes: [
      [2, 3, 5, 4],
      [2, 3, 5, 4],
      [2, 3, 5, 4],
    ],
    result: [2, 3, 5, 4],
  },
};

describe.each(Object.entries(cases))('%s', (name, { fn, composed, shapes, result }) => {
  it('agrees with its composition, in its value and all gradients, on both engines', async () => {
    const inputs = {
      ...Object.fromEntries(shapes.map((shape, i) => [`input ${i}`, normal(`${name} ${i}`, ...shape)])),
      weight: normal(`${name} weight`, ...result),
    };
    const wanted = await pair.run(withGradients(composed), inputs);
    const found = await pair.run(withGradients(fn), inputs);
    expect(disagreement(wanted.eager, found.eager)).toBeUndefined();
    expect(disagreement(wanted.eager, found.traced)).toBeUndefined();
  });
});

describe('RMSNorm', () => {
  it('gives the same inverse fused and composed', async () => {
    const fn = ({ x, scale }: NamedTensors) => ({ ...rmsNormWithInverse(x!, scale!, epsilon) });
    const { eager, traced } = await pair.run(fn, { x: normal('x', 7, 6), scale: normal('scale', 6) });
    expect(disagreement(eager, traced)).toBeUndefined();
  });

  it("is made of ONNX's own operators in an exported model", async () => {
    const fn = ({ x, scale }: NamedTensors) => ({ y: rmsNorm(x!, scale!, epsilon) });
    const model = await pair.traced.exportOnnx('norm', fn, { x: [7, 6], scale: [6] });
    const text = Buffer.from(model).toString('latin1');
    expect(text).toContain('ReduceMean');
    expect(text).not.toContain('SimplifiedLayerNormalization');
  });
});
