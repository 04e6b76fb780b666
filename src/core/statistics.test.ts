import { describe, expect, it } from 'vitest';
import { readFixture } from '../../test/references/read.js';
import { randomKey } from './random-keys.js';
import {
  bootstrapInterval,
  interquartileMean,
  mean,
  performanceProfile,
  probabilityOfImprovement,
  probabilityOfImprovementInterval,
  quantile,
  scoreInterval,
  wilsonInterval,
} from './statistics.js';

describe('interquartileMean', () => {
  // Equal to scipy.stats.trim_mean(x, 0.25) if the number of values is a multiple of 4.
  it.each([
    [[1, 2, 3, 100], 2.5],
    [[8, 1, 7, 2, 6, 3, 5, 40], 5.25],
  ])('is the mean of the middle half of %j', (values, expected) => {
    expect(interquartileMean(values)).toBeCloseTo(expected, 12);
  });

  it('counts the ends in part when a quarter ends within a value', () => {
    // 6 values, 1.5 cut off at each end: half of 2, all of 3 and 4, half of 5.
    expect(interquartileMean([1, 2, 3, 4, 5, 600])).toBeCloseTo((1 + 3 + 4 + 2.5) / 3, 12);
    expect(interquartileMean([4, 6])).toBe(5);
    expect(interquartileMean([4])).toBe(4);
    expect(interquartileMean([])).toBeNaN();
  });
});

describe('bootstrapInterval', () => {
  const values = Array.from({ length: 200 }, (_, i) => Math.sin(i * 12.9898) * 3 + 10);

  it('agrees with the normal interval for the mean of many values', () => {
    const [low, high] = bootstrapInterval([values], mean, randomKey(0));
    const center = mean(values);
    const error = Math.sqrt(mean(values.map((v) => (v - center) ** 2)) / values.length);
    expect((low - center) / error).toBeCloseTo(-1.96, 0);
    expect((high - center) / error).toBeCloseTo(1.96, 0);
  });

  it('resamples within each stratum', () => {
    // Every resample holds one value of each stratum, so that the mean is always the same.
    expect(bootstrapInterval([[1], [5]], mean, randomKey(0))).toEqual([3, 3]);
    const [low, high] = bootstrapInterval([[1, 5]], mean, randomKey(0));
    expect([low, high]).toEqual([1, 5]);
  });

  it('is the same for the same key, and NaN without values', () => {
    const of = (seed: number) =>
      bootstrapInterval([values], (x) => quantile(x, 0.3), randomKey(seed), { draws: 50 });
    expect(of(1)).toEqual(of(1));
    expect(of(1)).not.toEqual(of(2));
    expect(bootstrapInterval([[]], mean, randomKey(0))).toEqual([Number.NaN, Number.NaN]);
  });
});

describe('aggregates over seeds and tasks', () => {
  const rliable = readFixture<{
    /** Scores, [seeds, tasks]. */
    readonly x: readonly (readonly number[])[];
    readonly y: readonly (readonly number[])[];
    readonly interquartileMean: number;
    readonly interquartileMeanInterval: readonly [number, number];
    readonly probabilityOfImprovement: number;
    readonly probabilityOfImprovementInterval: readonly [number, number];
    readonly thresholds: readonly number[];
    readonly performanceProfile: readonly number[];
  }>('aggregates_rliable');
  const byTask = (scores: readonly (readonly number[])[]) =>
    scores[0].map((_, task) => scores.map((seed) => seed[task]));
  const [x, y] = [byTask(rliable.x), byTask(rliable.y)];

  it('are those of rliable', () => {
    expect(interquartileMean(x.flat())).toBeCloseTo(rliable.interquartileMean, 9);
    expect(probabilityOfImprovement(x, y)).toBeCloseTo(rliable.probabilityOfImprovement, 9);
    performanceProfile(x, rliable.thresholds).forEach((share, i) => {
      expect(share).toBeCloseTo(rliable.performanceProfile[i], 9);
    });
  });

  it('have the intervals of rliable, up to the bootstrap noise', () => {
    const iqm = scoreInterval(x, randomKey(1));
    expect(iqm.kind).toBe('bootstrap');
    const better = probabilityOfImprovementInterval(x, y, randomKey(2));
    [iqm.low, iqm.high].forEach((end, i) => {
      expect(Math.abs(end - rliable.interquartileMeanInterval[i])).toBeLessThan(0.05);
    });
    better.forEach((end, i) => {
      expect(Math.abs(end - rliable.probabilityOfImprovementInterval[i])).toBeLessThan(0.03);
    });
  });

  it('count a tie as half, and call the interval of few seeds a range', () => {
    expect(probabilityOfImprovement([[1, 2]], [[1, 2]])).toBe(0.5);
    expect(probabilityOfImprovement([[2], [0]], [[1], [1]])).toBe(0.5);
    expect(scoreInterval([[3, 1, 2]], randomKey(0))).toEqual({ low: 1, high: 3, kind: 'range' });
    expect(scoreInterval([[3, 1, 2, 5, 4]], randomKey(0)).kind).toBe('bootstrap');
  });

  it('compare runs pair by pair within a task, and average over the tasks', () => {
    // 5 of 6 pairs on the first task, and 0.5 of 1 on the second.
    expect(probabilityOfImprovement([[3, 5], [1]], [[1, 2, 4], [1]])).toBeCloseTo((5 / 6 + 0.5) / 2, 12);
    const [low, high] = probabilityOfImprovementInterval([[3, 5], [1]], [[1, 2, 4], [1]], randomKey(0));
    expect(low).toBeGreaterThan(0.25);
    expect(low).toBeLessThan(2 / 3);
    expect(high).toBe(0.75);
    expect(performanceProfile([[3, 5], [1]], [0, 1, 3, 9])).toEqual([1, 2 / 3, 1 / 3, 0]);
  });
});

describe('wilsonInterval', () => {
  // statsmodels.stats.proportion.proportion_confint(k, n, method='wilson')
  it.each([
    [8, 10, 0.49016247153664183, 0.9433178485456247],
    [0, 10, 0, 0.27753279986288926],
    [50, 50, 0.9286524008666412, 1],
    [37, 100, 0.2818236053432453, 0.46779470419057095],
  ])('of %i among %i', (successes, total, low, high) => {
    const interval = wilsonInterval(successes, total);
    expect(interval[0]).toBeCloseTo(low, 12);
    expect(interval[1]).toBeCloseTo(high, 12);
  });

  it('is the whole range without trials', () => {
    expect(wilsonInterval(0, 0)).toEqual([0, 1]);
  });
});
