import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normal } from '../../test/engine/agreement.js';
import { createEngine } from '../engine/create.js';
import type { Engine, EngineName } from '../engine/engine.js';
import type { HostTensor, NamedHostTensors, NamedVariables, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { initNormalizer, normalized, observe } from './normalizer.js';
import { expectedValue, histogramLogits, histogramOutputs } from './value-distribution.js';
import { initValueNormalizer, normalizedTargets, observeTargets, valuesOf } from './value-normalizer.js';

const rows = 50;

/** Observations [rows, 4]: one of scale 1e6 far from 0, one that never changes, one of scale 1e-6, one standard normal. */
function observations(seed: number): HostTensor<Float32Array> {
  const { data } = normal(seed, rows, 4);
  const scaled = data.map((x, i) => [1e6 * x + 3e6, 7, 1e-6 * x, x][i % 4]!);
  return { shape: [rows, 4], data: scaled };
}

/** Mean and standard deviation of each column of several batches, in double precision. */
function statistics(batches: readonly HostTensor[], column: number): { mean: number; deviation: number } {
  const values = batches.flatMap(({ data }) => [...data].filter((_, i) => i % 4 === column));
  const mean = values.reduce((a, b) => a + b) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(variance) };
}

describe.each<EngineName>(['cpu', 'onnx'])('normalization on %s', (name) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(name);
  });
  afterAll(() => engine.dispose());

  const variables = (prefix: string, values: NamedHostTensors): NamedVariables =>
    Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, engine.variable(`${prefix}/${key}`, value)]),
    );

  it('is by mean and standard deviation of all observations so far, of any scale', async () => {
    const normalizer = variables('observations', initNormalizer(4));
    const step = engine.jit('observe', ({ batch }: { batch: Tensor2D }) => {
      observe(normalizer, batch);
      return { result: normalized(normalizer, batch) };
    });
    const batches = [1, 2, 3, 4, 5].map(observations);
    let result: ArrayLike<number> = [];
    for (const batch of batches) result = (await step.run({ batch })).result.data;
    const last = batches[4]!;
    for (const column of [0, 2, 3]) {
      const { mean, deviation } = statistics(batches, column);
      for (let row = 0; row < rows; row++) {
        const i = 4 * row + column;
        const limited = Math.max(-10, Math.min(10, (last.data[i]! - mean) / deviation));
        expect(result[i]).toBeCloseTo(limited, 3);
      }
    }
    // An observation that never changes is 0.
    for (let row = 0; row < rows; row++) expect(result[4 * row + 1]).toBe(0);
  });

  it('keeps what critics say when the statistics of their targets move', async () => {
    const normalizer = variables('targets', initValueNormalizer());
    const output = { 'output/weight': normal('w', 3, 1), 'output/bias': normal('b', 1) };
    const critic = variables('critic', output);
    const features = normal('x', 6, 3);
    const value = engine.jit('value', ({ x }: { x: Tensor2D }) => {
      const outputs = tf.add(tf.matMul(x, critic['output/weight']!), critic['output/bias']!);
      return { value: valuesOf(normalizer, outputs) };
    });
    const step = engine.jit('observeTargets', ({ targets }: { targets: Tensor1D }) => {
      observeTargets(normalizer, targets, [critic]);
      return { scaled: normalizedTargets(normalizer, targets) };
    });
    const values = async () => [...(await value.run({ x: features })).value.data];
    // Before the first targets every value is 0.
    for (const found of await values()) expect(Math.abs(found)).toBeLessThan(1e-9);
    let before: number[] = [];
    let scaled: number[] = [];
    for (const seed of [0, 1, 2, 3]) {
      if (seed === 1) before = await values();
      const { data } = normal(seed, 400);
      const targets = { shape: [400], data: data.map((t) => 1e3 * t + 5e3) };
      scaled = [...(await step.run({ targets })).scaled.data];
    }
    // Float32 keeps seven digits of numbers near 5,000.
    for (const [i, found] of (await values()).entries())
      expect(Math.abs(found - before[i]!)).toBeLessThan(5e-3);
    const mean = scaled.reduce((a, b) => a + b) / 400;
    expect(Math.abs(mean)).toBeLessThan(0.2);
    expect(Math.sqrt(scaled.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 400)).toBeCloseTo(1, 0);
  });

  it('keeps what a histogram of values says when the statistics of its targets move', async () => {
    const outputs = histogramOutputs(101);
    const normalizer = variables('histogramTargets', initValueNormalizer());
    // Histograms around values near 2, whose locations and shapes the weights move by a few tenths.
    const { data: weights } = normal('w', 3, outputs);
    const critic = variables('histogram', {
      'output/weight': { shape: [3, outputs], data: weights.map((weight) => 0.2 * weight) },
      'output/bias': {
        shape: [outputs],
        data: Float32Array.from({ length: outputs }, (_, i) => (i === 0 ? 2 : 0)),
      },
    });
    const features = normal('x', 6, 3);
    const value = engine.jit('histogramValue', ({ x }: { x: Tensor2D }) => {
      const found = tf.add(tf.matMul(x, critic['output/weight']!), critic['output/bias']!);
      return { value: valuesOf(normalizer, expectedValue(histogramLogits(found))) };
    });
    const step = engine.jit('observeHistogramTargets', ({ targets }: { targets: Tensor1D }) => {
      observeTargets(normalizer, targets, [critic]);
      return { mean: tf.clone(normalizer.mean!), variance: tf.clone(normalizer.variance!) };
    });
    const values = async () => [...(await value.run({ x: features })).value.data];
    let before: number[] = [];
    let moved: readonly [mean: number, deviation: number][] = [];
    for (let batch = 0; batch < 20; batch++) {
      const { data } = normal(batch, 400);
      const targets = { shape: [400], data: data.map((t) => (1e3 + 20 * batch) * t + 5e3 + 50 * batch) };
      const { mean, variance } = await step.run({ targets });
      moved = [...moved, [mean.data[0]!, Math.sqrt(variance.data[0]!)]];
      if (batch === 0) before = await values();
    }
    // Interpolation is not exact; an unchanged layer would be off by more than 300.
    const [[mean, deviation], last] = [moved[0]!, moved.at(-1)!];
    expect(last[0] - mean).toBeGreaterThan(300);
    expect(last[1] / deviation).toBeGreaterThan(1.1);
    for (const [i, found] of (await values()).entries()) {
      expect(Math.abs(before[i]! - mean)).toBeGreaterThan(deviation);
      expect(Math.abs(found - before[i]!)).toBeLessThan(0.05 * deviation);
    }
  });

  it('does not divide by 0 if all targets are 0', async () => {
    const normalizer = variables('zeros', initValueNormalizer());
    const critic = variables('zeroCritic', {
      'output/weight': normal('w', 3, 1),
      'output/bias': normal('b', 1),
    });
    const step = engine.jit('observeZeros', ({ targets }: { targets: Tensor1D }) => {
      observeTargets(normalizer, targets, [critic]);
      return { scaled: normalizedTargets(normalizer, targets), weight: tf.clone(critic['output/weight']!) };
    });
    for (let i = 0; i < 3; i++) {
      const { scaled, weight } = await step.run({ targets: { shape: [8], data: new Float32Array(8) } });
      expect([...scaled.data]).toEqual(new Array(8).fill(0));
      expect([...weight.data].every(Number.isFinite)).toBe(true);
    }
  });
});

it('leaves everything as it is without statistics', () => {
  const x = tf.tensor2d([[3, -400]]);
  expect(normalized({}, x)).toBe(x);
  expect(valuesOf({}, x)).toBe(x);
  const targets = tf.tensor1d([5]);
  expect(normalizedTargets({}, targets)).toBe(targets);
});
