import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPair, disagreement, floats, normal, type Pair } from '../../test/engine/agreement.js';
import { layerNormWithMoments } from '../engine/fused.js';
import { reachable } from '../engine/onnx/graph.js';
import { Tracer } from '../engine/onnx/trace.js';
import type { HostTensor, NamedHostTensors, NamedTensors, Scalar, Tensor } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { layerNorm } from './layer-norm.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

const epsilon = 1e-5;

type Norm = (x: Tensor, scale: Tensor, offset: Tensor) => Tensor;

/** Layer normalization with the gradient that TensorFlow.js composes. */
const composed: Norm = (x, scale, offset) => {
  const centered = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centered), -1, true);
  return tf.add(tf.mul(tf.mul(centered, tf.rsqrt(tf.add(variance, epsilon))), scale), offset);
};

/** The value of a norm, and the gradients of a weighted sum of its elements. */
const withGradients =
  (norm: Norm) =>
  ({ x, scale, offset, weight }: NamedTensors): NamedTensors => {
    const loss = (...inputs: Tensor[]) => tf.sum(tf.mul(norm(inputs[0]!, inputs[1]!, inputs[2]!), weight!));
    const { grads } = tf.valueAndGrads(loss as () => Scalar)([x!, scale!, offset!]);
    return { y: norm(x!, scale!, offset!), ofX: grads[0]!, ofScale: grads[1]!, ofOffset: grads[2]! };
  };

/** Inputs of [M, D] with scales around 1. */
function inputsOf(x: HostTensor<Float32Array>): NamedHostTensors {
  const D = x.shape[1]!;
  const scale = normal('scale', D);
  return {
    x,
    scale: { shape: scale.shape, data: scale.data.map((value) => 1 + 0.3 * value) },
    offset: normal('offset', D),
    weight: normal('weight', ...x.shape),
  };
}

const times = ({ shape, data }: HostTensor<Float32Array>, factor: number, shift = 0) =>
  floats(shape, ...data.map((value) => factor * value + shift));

/** The weighted sum in float64. */
function lossOf({ x, scale, offset, weight }: NamedHostTensors): number {
  const [M, D] = x!.shape as [number, number];
  let loss = 0;
  for (let i = 0; i < M; i++) {
    const row = Array.from(x!.data.slice(i * D, (i + 1) * D));
    const mean = row.reduce((a, b) => a + b) / D;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / D;
    for (const [j, value] of row.entries()) {
      const normalized = (value - mean) / Math.sqrt(variance + epsilon);
      loss += weight!.data[i * D + j]! * (normalized * scale!.data[j]! + offset!.data[j]!);
    }
  }
  return loss;
}

/** The derivatives of the weighted sum in one input, by central differences. */
function differences(inputs: NamedHostTensors, name: string): HostTensor<Float32Array> {
  const { shape, data } = inputs[name]!;
  const step = 1e-4;
  const at = (index: number, by: number) => {
    // A list of float64 numbers in place of the input, whose float32 numbers would round the step.
    const moved = Array.from(data, (value, i) => (i === index ? value + by : value));
    return lossOf({ ...inputs, [name]: { shape, data: moved as unknown as Float32Array } });
  };
  return floats(shape, ...Array.from(data, (_, i) => (at(i, step) - at(i, -step)) / (2 * step)));
}

describe('layerNorm', () => {
  it.each([
    ['few numbers', normal('x', 7, 6)],
    ['one row', normal('x', 1, 5)],
    ['one column', normal('x', 4, 1)],
    ['lengths that no vector register divides', normal('x', 33, 131)],
    ['large numbers', times(normal('x', 7, 6), 1e4)],
    ['numbers far from 0', times(normal('x', 7, 6), 1, 10)],
    ['numbers near 0', times(normal('x', 7, 6), 1e-3)],
  ])('agrees with its composition in value and gradients on both engines: %s', async (_, x) => {
    const inputs = inputsOf(x);
    const wanted = await pair.run(withGradients(composed), inputs);
    const found = await pair.run(withGradients(layerNorm), inputs);
    expect(disagreement(wanted.eager, found.eager)).toBeUndefined();
    expect(disagreement(wanted.eager, found.traced)).toBeUndefined();
  });

  it('agrees with finite differences on both engines', async () => {
    const inputs = inputsOf(normal('x', 5, 9));
    const expected = {
      ofX: differences(inputs, 'x'),
      ofScale: differences(inputs, 'scale'),
      ofOffset: differences(inputs, 'offset'),
    };
    const found = await pair.run((tensors) => {
      const { y: _, ...gradients } = withGradients(layerNorm)(tensors);
      return gradients;
    }, inputs);
    expect(disagreement(expected, found.eager)).toBeUndefined();
    expect(disagreement(expected, found.traced)).toBeUndefined();
  });

  it('takes rows of equal numbers to the offset, with a gradient that sums to 0 over a row', async () => {
    const inputs = inputsOf(floats([3, 4], 0, 0, 0, 0, 2, 2, 2, 2, -1000, -1000, -1000, -1000));
    const { eager, traced } = await pair.run(withGradients(layerNorm), inputs);
    for (const { y, ofX } of [eager, traced]) {
      for (const [i, value] of y!.data.entries()) expect(value).toBeCloseTo(inputs.offset!.data[i % 4]!, 5);
      // 1 / √ε multiplies the gradient in a row without variance.
      const largest = Math.max(...ofX!.data.map(Math.abs));
      expect(largest).toBeGreaterThan(0.1 / Math.sqrt(epsilon));
      for (const row of [0, 1, 2]) {
        const sum = Array.from(ofX!.data.slice(4 * row, 4 * row + 4)).reduce((a, b) => a + b);
        expect(Math.abs(sum)).toBeLessThan(1e-3 * largest);
      }
    }
    expect(disagreement(eager, traced)).toBeUndefined();
  });

  it('is exact for rows whose numbers differ little from one another and much from 0', async () => {
    const D = 256;
    for (const [center, width] of [
      [33.3, 0],
      [100.3, 0.01],
      [1000.3, 1],
    ] as const) {
      const x = normal('x', 20, D);
      for (const [i, value] of x.data.entries()) x.data[i] = center + width * value;
      const inputs = inputsOf(x);
      const { traced } = await pair.run(withGradients(layerNorm), inputs);
      const [scale, offset] = [inputs.scale!.data, inputs.offset!.data];
      for (let row = 0; row < 20; row++) {
        const values = Array.from(x.data.subarray(row * D, (row + 1) * D));
        const mean = values.reduce((a, b) => a + b) / D;
        const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / D;
        for (const [j, value] of values.entries()) {
          const expected = ((value - mean) / Math.sqrt(variance + epsilon)) * scale[j]! + offset[j]!;
          expect(Math.abs(traced.y!.data[row * D + j]! - expected)).toBeLessThan(0.02);
        }
      }
    }
  });

  it('keeps NaN in its row', async () => {
    const x = normal('x', 3, 4);
    x.data[5] = Number.NaN;
    const { eager, traced } = await pair.run(withGradients(layerNorm), inputsOf(x));
    for (const { y, ofX } of [eager, traced]) {
      for (const { data } of [y!, ofX!]) {
        expect(Array.from(data, Number.isNaN)).toEqual(Array.from(data, (_, i) => i >= 4 && i < 8));
      }
    }
  });

  it('gives the same moments fused and composed', async () => {
    const fn = ({ x, scale, offset }: NamedTensors) => ({
      ...layerNormWithMoments(x!, scale!, offset!, epsilon),
    });
    const { weight: _, ...inputs } = inputsOf(normal('x', 7, 6));
    const { eager, traced } = await pair.run(fn, inputs);
    expect(disagreement(eager, traced)).toBeUndefined();
  });

  it('is one node forward, and no reductions backward but products, in graphs that run here', () => {
    const types = new Map(
      Object.entries({ x: [7, 6], scale: [6], offset: [6], weight: [7, 6] }).map(
        ([name, shape]) => [name, { dtype: 'float32', shape }] as const,
      ),
    );
    const { outputs } = new Tracer().trace('norm', withGradients(layerNorm), types, { contributed: true });
    const operators = reachable(outputs.map(({ value }) => value)).nodes.map(({ operator }) => operator);
    expect(operators.filter((operator) => operator === 'LayerNormalization')).toHaveLength(1);
    expect(operators.filter((operator) => /^(Reduce|Sqrt|Reciprocal)/.test(operator))).toEqual([]);
  });

  it('is one node in an exported model', async () => {
    const fn = ({ x, scale, offset }: NamedTensors) => ({ y: layerNorm(x!, scale!, offset!) });
    const model = await pair.traced.exportOnnx('norm', fn, { x: [7, 6], scale: [6], offset: [6] });
    const text = Buffer.from(model).toString('latin1');
    expect(text).toContain('LayerNormalization');
    expect(text).not.toContain('ReduceMean');
  });
});
