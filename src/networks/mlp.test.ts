import { beforeAll, expect, it } from 'vitest';
import { normal } from '../../test/engine/agreement.js';
import { randomKey } from '../core/random-keys.js';
import { reachable } from '../engine/onnx/graph.js';
import { Tracer } from '../engine/onnx/trace.js';
import type { NamedHostTensors, NamedTensors, Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { applyMlp, initMlp, type MlpSettings } from './mlp.js';

beforeAll(() => tf.setBackend('cpu'));

/** x·W + b of one row, in plain arithmetic. */
function dense(parameters: NamedHostTensors, name: string, x: readonly number[]): number[] {
  const weight = parameters[`${name}/weight`]!;
  const outputs = weight.shape[1]!;
  return Array.from({ length: outputs }, (_, j) =>
    x.reduce(
      (sum, value, i) => sum + value * weight.data[i * outputs + j]!,
      parameters[`${name}/bias`]!.data[j]!,
    ),
  );
}

function norm(parameters: NamedHostTensors, name: string, x: readonly number[]): number[] {
  const mean = x.reduce((a, b) => a + b) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  return x.map(
    (value, i) =>
      ((value - mean) / Math.sqrt(variance + 1e-5)) * parameters[`${name}/scale`]!.data[i]! +
      parameters[`${name}/offset`]!.data[i]!,
  );
}

it('computes SimBa’s residual blocks', () => {
  const settings: MlpSettings = { hidden: [6, 6], activation: 'elu', layerNorm: true, residual: true };
  const initial = initMlp(randomKey(1), 4, 3, settings);
  // Scales, offsets and biases that are not 1 and 0 show up in the result.
  const parameters: NamedHostTensors = Object.fromEntries(
    Object.entries(initial).map(([name, { shape, data }]) => {
      const noise = normal(name, ...shape).data;
      return [name, { shape, data: Float32Array.from(data, (x, i) => x + 0.3 * noise[i]!) }];
    }),
  );
  const { data } = normal('x', 1, 4);
  let x = dense(parameters, 'hidden0', [...data]);
  for (const block of ['block0', 'block1']) {
    const inner = dense(parameters, `${block}/inner`, norm(parameters, `${block}/norm`, x));
    expect(inner.length).toBe(24);
    const added = dense(
      parameters,
      `${block}/outer`,
      inner.map((value) => Math.max(0, value)),
    );
    x = x.map((value, i) => value + added[i]!);
  }
  const expected = dense(parameters, 'output', norm(parameters, 'norm', x));
  const tensors = Object.fromEntries(
    Object.entries(parameters).map(([name, { shape, data: values }]) => [
      name,
      tf.tensor(values, [...shape]),
    ]),
  );
  const found = applyMlp(tensors, tf.tensor2d(data, [1, 4]) as Tensor2D, settings).dataSync();
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 4);
});

it('normalizes in one node in the graph of its gradients', () => {
  const settings: MlpSettings = { hidden: [6, 6], activation: 'elu', layerNorm: true, residual: false };
  const initial = initMlp(randomKey(1), 4, 3, settings);
  const types = new Map(
    Object.entries({ ...initial, x: { shape: [5, 4] } }).map(
      ([name, { shape }]) => [name, { dtype: 'float32', shape }] as const,
    ),
  );
  const gradients = ({ x, ...parameters }: NamedTensors): NamedTensors => {
    const names = Object.keys(parameters);
    const loss = (...values: NamedTensors[string][]): Scalar => {
      const named = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
      return tf.sum(applyMlp(named, x as Tensor2D, settings));
    };
    const found = tf.grads(loss)(Object.values(parameters));
    return Object.fromEntries(names.map((name, i) => [name, found[i]!]));
  };
  const { outputs } = new Tracer().trace('gradients', gradients, types, { contributed: true });
  const operators = reachable(outputs.map(({ value }) => value)).nodes.map(({ operator }) => operator);
  expect(operators.filter((operator) => operator === 'LayerNormalization')).toHaveLength(1);
  expect(operators).not.toContain('ReduceMean');
});
