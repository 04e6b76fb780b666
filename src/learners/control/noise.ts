import { fillNormal, fillUniform, type RandomKey } from '../../core/random-keys.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { HostTensor } from '../../engine/tensors.js';

/** The random numbers of acting and learning. Shapes: K environments, N samples, B contexts, A action dimensions. */

/** Φ, the standard normal distribution function, to 2e-7 (Abramowitz and Stegun 7.1.26). */
export function normalCdf(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const poly =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const erf = 1 - poly * Math.exp(-x * x);
  return z < 0 ? (1 - erf) / 2 : (1 + erf) / 2;
}

/** z as the noise that the head reads: z itself for a normal one, Φ(z) for a uniform one. */
export function headNoise(family: DistributionFamily, z: Float32Array): Float32Array {
  // Rounded to float32, Φ of a large z is 1, which is outside (0, 1).
  return family.noise === 'normal' ? z : z.map((value) => Math.min(normalCdf(value), 1 - 2 ** -24));
}

/**
 * Random canonical actions [K, A], as correlated in time as z [K, A] is: uniform within the bounds of a continuous dimension,
 * or over the values of one that takes `actionValues` of them (0: continuous).
 */
export function randomActions(z: Float32Array, actionValues: ArrayLike<number>): Float32Array {
  return z.map((value, i) => {
    const share = normalCdf(value);
    const count = actionValues[i % actionValues.length];
    return count === 0 ? 2 * share - 1 : integerAction(share, count);
  });
}

/** The canonical value of one of `count` integers, each for an equal share of 0 … 1. */
export function integerAction(share: number, count: number): number {
  return count === 1 ? 0 : (2 * Math.min(count - 1, Math.floor(share * count))) / (count - 1) - 1;
}

/** The noise of one update, [N, B, A]. */
export function updateNoise(
  family: DistributionFamily,
  key: RandomKey,
  shape: readonly number[],
): HostTensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
  return { shape, data: family.noise === 'normal' ? fillNormal(key, data) : fillUniform(key, data) };
}
