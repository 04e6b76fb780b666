import { describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { mean } from '../../core/statistics.js';
import { ActingNoise, type NoiseProcess, noiseProcesses } from './acting-noise.js';

/** The correlation of a linear filter of white noise with itself `lag` steps later, from its weights of the past. */
function correlationOf(weight: (stepsAgo: number) => number, lag: number): number {
  let [both, own] = [0, 0];
  for (let k = 0; k < 5000; k++) {
    both += weight(k) * weight(k + lag);
    own += weight(k) ** 2;
  }
  return both / own;
}

/** The weights of past ε in an average over `steps` steps, less those in an average of this average. */
function swinging(steps: number): (stepsAgo: number) => number {
  const average = (k: number) => (1 - Math.exp(-1 / steps)) * Math.exp(-k / steps);
  const weights: number[] = [];
  let [first, second] = [0, 0];
  for (let k = 0; k < 5200; k++) {
    // The response to an ε of 1 at step 0.
    first = average(k);
    second = Math.exp(-1 / steps) * second + (1 - Math.exp(-1 / steps)) * first;
    weights.push(first - second);
  }
  return (k) => weights[k] ?? 0;
}

/** The noise of `numEnvs` environments with one action dimension at each of `steps` steps. */
function draw(process: NoiseProcess, numEnvs: number, steps: number): Float32Array[] {
  const noise = new ActingNoise(numEnvs, [process], randomKey(3));
  return Array.from({ length: steps }, (_, step) => noise.advance(step));
}

const products = (a: Float32Array, b: Float32Array) => mean(Array.from(a, (z, i) => z * b[i]!));

describe('ActingNoise', () => {
  it.each([
    ['decaying', { correlation: 0.9 }, (k: number) => 0.9 ** k],
    ['swinging', { swing: 20 }, swinging(20)],
    ['swinging fast', { swing: 1 }, swinging(1)],
  ])(
    '%s, is standard normal from the first step on, and as correlated as its filter',
    (_, process, weight) => {
      const z = draw(process, 20_000, 61);
      for (const step of [0, 1, 60]) {
        expect(Math.abs(mean([...z[step]!]))).toBeLessThan(0.03);
        expect(Math.abs(products(z[step]!, z[step]!) - 1)).toBeLessThan(0.04);
      }
      for (const lag of [1, 5, 20, 60]) {
        expect(Math.abs(products(z[0]!, z[lag]!) - correlationOf(weight, lag))).toBeLessThan(0.03);
      }
    },
  );

  it('of swings pushes back, and does not add up to a drift', () => {
    expect(correlationOf(swinging(20), 40)).toBeLessThan(-0.1);
    // The deviation of the sum of the noise over `steps` steps.
    const drift = (process: NoiseProcess, steps: number) => {
      const sums = new Float32Array(400);
      for (const z of draw(process, sums.length, steps))
        for (const [i, value] of z.entries()) sums[i]! += value;
      return Math.sqrt(products(sums, sums));
    };
    const [once, four] = [drift({ swing: 20 }, 500), drift({ swing: 20 }, 2000)];
    expect(four / once).toBeLessThan(1.2);
    // Noise that decays drifts by the square root of the time, √(steps · (1 + ρ)/(1 − ρ)).
    expect(drift({ correlation: 0.95 }, 2000)).toBeGreaterThan(4 * four);
  });

  it('follows the setting, or else the kind of each dimension', () => {
    expect(noiseProcesses({}, [0, 3])).toEqual([{ correlation: 0.8 }, { correlation: 0 }]);
    expect(noiseProcesses({ explorationCorrelation: 0.5 }, [0, 3])).toEqual(
      Array(2).fill({ correlation: 0.5 }),
    );
    expect(noiseProcesses({ explorationSwing: 30 }, [0, 3])).toEqual(Array(2).fill({ swing: 30 }));
    expect(() => noiseProcesses({ explorationSwing: 30, explorationCorrelation: 0.5 }, [0])).toThrow(
      'noise either swings or decays',
    );
    const noise = new ActingNoise(5000, noiseProcesses({}, [0, 3]), randomKey(1));
    const [first, second] = [noise.advance(0), noise.advance(1)];
    const of = (z: Float32Array, dimension: number) => z.filter((_, i) => i % 2 === dimension);
    expect(products(of(first, 0), of(second, 0))).toBeGreaterThan(0.7);
    expect(Math.abs(products(of(first, 1), of(second, 1)))).toBeLessThan(0.06);
  });

  it('continues from a snapshot bit for bit', () => {
    const make = () => new ActingNoise(3, [{ swing: 20 }, { correlation: 0.95 }], randomKey(4));
    const [noise, other] = [make(), make()];
    for (let step = 0; step < 5; step++) noise.advance(step);
    other.restore(noise.snapshot());
    expect(other.advance(8)).toEqual(noise.advance(8));
  });

  it('that decays has a snapshot of the shape that earlier versions saved', () => {
    const make = () => new ActingNoise(3, [{ correlation: 0.8 }, { correlation: 0 }], randomKey(4));
    const [noise, other] = [make(), make()];
    noise.advance(0);
    const snapshot = noise.snapshot();
    expect(snapshot.shape).toEqual([6]);
    other.restore(snapshot);
    expect(other.advance(8)).toEqual(noise.advance(8));
  });
});
