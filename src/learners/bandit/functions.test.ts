import { describe, expect, it } from 'vitest';
import { expectClose, readFixture, tensor } from '../../../test/references/read.js';
import * as tf from '../../engine/tf.js';
import { atCanonical, type BenchmarkFunction, benchmarkFunctions, schwefel } from './functions.js';

/** Written by test/references/benchmark_functions_cma.py: values by the Python package `cma`. */
const { cases } = readFixture<{
  readonly cases: readonly { function: string; points: number[][]; values: number[] }[];
}>('benchmark_functions_cma');

const named = (name: string): BenchmarkFunction => benchmarkFunctions.find((fn) => fn.name === name)!;

describe('benchmark functions', () => {
  it.each(cases)('$function has the values that cma computes', ({ function: name, points, values }) => {
    // float32 keeps seven digits of the sums, of which Schwefel's constant alone is 2,095 in five dimensions.
    expectClose(named(name).evaluate(tensor(points)), values, name, 2e-4);
  });

  it('are compared with cma, all of them', () => {
    expect(new Set(cases.map((one) => one.function))).toEqual(
      new Set(benchmarkFunctions.map(({ name }) => name)),
    );
  });

  it.each(benchmarkFunctions)('$name is 0 at its minimizer, which is inside its domain', (fn) => {
    const [low, high] = fn.domain;
    expect(fn.minimizer).toBeGreaterThan(low);
    expect(fn.minimizer).toBeLessThan(high);
    expect(Math.abs(fn.evaluate(tf.fill([3], fn.minimizer)).dataSync()[0])).toBeLessThan(2e-4);
  });

  it.each(benchmarkFunctions)('$name is greater than 0 everywhere else in its domain', (fn) => {
    const noise = tf.randomUniform([500, 3], -1, 1, 'float32', 5);
    expect(tf.min(atCanonical(fn, noise)).dataSync()[0]).toBeGreaterThan(0);
  });

  it.each(benchmarkFunctions)('$name keeps the leading axes of its points', (fn) => {
    expect(fn.evaluate(tf.zeros([4, 3, 2])).shape).toEqual([4, 3]);
  });

  it('take canonical points, whose bounds are −1 and 1', () => {
    const shifted: BenchmarkFunction = { ...named('sphere'), domain: [2, 6] };
    const values = atCanonical(shifted, tf.tensor2d([[-1], [0], [1]])).dataSync();
    expect(Array.from(values)).toEqual([4, 16, 36]);
  });

  it('Schwefel rises outside of its domain, where its formula would fall below 0', () => {
    const [inside, outside] = [500, 520].map((x) => schwefel.evaluate(tf.tensor2d([[x, 0]])).dataSync()[0]);
    expect(outside - inside).toBeCloseTo(400, 1);
  });
});
