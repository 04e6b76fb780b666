import { describe, expect, it } from 'vitest';
import { fillNormal, randomKey } from '../../core/random-keys.js';
import { categoricalFamily } from '../../distributions/categorical.js';
import { gaussianFamily } from '../../distributions/gaussian.js';
import { headNoise, normalCdf, randomActions } from './noise.js';

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
