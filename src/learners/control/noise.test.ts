import { describe, expect, it } from 'vitest';
import { fillNormal, foldIn, randomKey } from '../../core/random-keys.js';
import { categoricalFamily } from '../../distributions/categorical.js';
import { gaussianFamily } from '../../distributions/gaussian.js';
import {
  annealedEpsilons,
  explorationEpsilons,
  headNoise,
  normalCdf,
  randomActions,
  withRandomIntegers,
} from './noise.js';

describe('normalCdf', () => {
  it.each([
    // SciPy 1.16, scipy.stats.norm.cdf
    [-3, 0.0013498980316300933],
    [-1, 0.15865525393145707],
    [0, 0.5],
    [0.5, 0.6914624612740131],
    [2.5, 0.9937903346742238],
  ])('of %f', (z, expected) => {
    expect(normalCdf(z)).toBeCloseTo(expected, 6);
  });
});

describe('noise for a head', () => {
  const z = Float32Array.of(-9, -1, 0, 1, 9);

  it('is z itself for a Gaussian and uniform, within (0, 1), for a categorical', () => {
    expect(headNoise(gaussianFamily({ minStddev: 0.1, initialStddev: 1 }), z)).toEqual(z);
    const uniform = headNoise(categoricalFamily({ bins: [5] }), z);
    expect(uniform.every((u) => u >= 0 && u < 1)).toBe(true);
    expect(uniform[2]).toBeCloseTo(0.5, 6);
  });

  it('makes random actions that fill the bounds', () => {
    const actions = randomActions(z, [0]);
    expect(actions[0]).toBeCloseTo(-1, 5);
    expect(actions[4]).toBeCloseTo(1, 5);
    expect(actions[2]).toBeCloseTo(0, 6);
  });

  it('makes random integers that are equally likely, the outermost included', () => {
    const n = 6000;
    const normal = fillNormal(randomKey(3), new Float32Array(3 * n));
    // A dimension of four values, one of a single value, and a continuous one.
    const actions = randomActions(normal, [4, 1, 0]);
    for (const value of [-1, -1 / 3, 1 / 3, 1]) {
      const found = actions.filter((a, i) => i % 3 === 0 && Math.abs(a - value) < 1e-6).length;
      expect(found / n).toBeGreaterThan(0.22);
      expect(found / n).toBeLessThan(0.28);
    }
    expect(actions.every((a, i) => i % 3 !== 1 || a === 0)).toBe(true);
  });
});

describe('random integers', () => {
  it('are a share of the actions that falls from one environment to the next', () => {
    const epsilons = explorationEpsilons(undefined, [3], 8);
    expect(epsilons).toHaveLength(8);
    epsilons.forEach((epsilon, k) => {
      expect(epsilon).toBeCloseTo(0.4 ** (1 + k), 12);
    });
    expect(explorationEpsilons(0.1, [0, 2], 1)).toEqual([0.1 ** 4.5]);
    expect(explorationEpsilons(0, [3], 2)).toEqual([0, 0]);
    expect(explorationEpsilons(0.4, [0], 2)).toEqual([0, 0]);
  });

  it('begin as all actions, and become the own share of each environment in three more warm-ups', () => {
    const at = (steps: number) => annealedEpsilons([0.4, 0.01, 0], steps, 100 / 3);
    expect(at(0)).toEqual([1, 1, 0]);
    expect(at(50)).toEqual([0.5, 0.5, 0]);
    expect(at(80)[0]).toBe(0.4);
    expect(at(80)[1]).toBeCloseTo(0.2, 12);
    expect(at(100)).toEqual([0.4, 0.01, 0]);
    expect(at(900)).toEqual([0.4, 0.01, 0]);
    expect(annealedEpsilons([0.4], 0, 0)).toEqual([0.4]);
  });

  it('replace all integers of an action, as often as they should, and each value equally often', () => {
    const actionValues = [3, 0, 2, 1];
    const counts = [0, 0];
    const values = [0, 0, 0];
    const steps = 10_000;
    for (let step = 0; step < steps; step++) {
      const given = Float32Array.of(9, 9, 9, 9, 9, 9, 9, 9);
      const actions = withRandomIntegers(given, [0.4, 0.1], actionValues, foldIn(randomKey(1), step));
      for (const k of [0, 1]) {
        const [first, continuous, second, third] = actions.subarray(4 * k, 4 * k + 4);
        expect(continuous).toBe(9);
        if (first === 9) {
          expect([second, third]).toEqual([9, 9]);
          continue;
        }
        counts[k] += 1;
        values[first + 1] += 1;
        expect([-1, 1]).toContain(second);
        expect(third).toBe(0);
      }
    }
    expect(counts[0] / steps).toBeCloseTo(0.4, 1.5);
    expect(counts[1] / steps).toBeCloseTo(0.1, 1.5);
    for (const count of values) expect(count / (counts[0] + counts[1])).toBeCloseTo(1 / 3, 1.5);
  });

  it('are none where ε is 0', () => {
    const given = Float32Array.of(1, -1);
    expect(withRandomIntegers(given, [0, 0], [2], randomKey(0))).toEqual(given);
  });
});
