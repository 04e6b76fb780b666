import { fillNormal, fillUniform, foldIn, type RandomKey } from '../../core/random-keys.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { HostTensor } from '../../engine/tensors.js';
import { hasIntegers } from './action-units.js';

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

/** ε of the first environment if the configuration does not set it, and the power of it that the last environment has: 1 + this. */
const ladder = { epsilon: 0.4, decline: 7 };

/**
 * The share of steps with random integer actions in each of K environments, [K]: ε_k = ε^(1 + 7k/(K−1)), as in Ape-X (arXiv 1803.00933,
 * section 4.1). A policy soon takes few other actions than the best that it knows. Some environments that explore on find what needs
 * several unlikely actions in a row, while the others see what the policy leads to.
 */
export function explorationEpsilons(
  setting: number | undefined,
  actionValues: ArrayLike<number>,
  numEnvs: number,
): number[] {
  const epsilon = hasIntegers(actionValues) ? (setting ?? ladder.epsilon) : 0;
  return Array.from({ length: numEnvs }, (_, k) => {
    const place = numEnvs === 1 ? 0.5 : k / (numEnvs - 1);
    return epsilon ** (1 + ladder.decline * place);
  });
}

/** The steps in which ε falls to each environment's own, as a multiple of the warm-up's. */
const annealedWarmUps = 3;

/**
 * ε of each environment after `steps` steps of a policy, [K]: it falls linearly from 1, as in DQN, in three times as many steps as the
 * warm-up has. What needs several unlikely actions in a row is found while the policy is still undecided, or hardly ever. The
 * length of the run plays no part, so that ε stays where it is when a run is extended.
 */
export function annealedEpsilons(
  epsilons: readonly number[],
  steps: number,
  warmupSteps: number,
): readonly number[] {
  const window = annealedWarmUps * warmupSteps;
  if (steps >= window) return epsilons;
  return epsilons.map((epsilon) => (epsilon === 0 ? 0 : Math.max(epsilon, 1 - steps / window)));
}

/**
 * Canonical actions [K, A] in which environment k has, with probability ε_k, uniformly random values in place of all its integers.
 * @param epsilons [K]
 * @param actionValues the number of values of each dimension, 0 for a continuous one, [A]
 */
export function withRandomIntegers(
  actions: Float32Array,
  epsilons: readonly number[],
  actionValues: ArrayLike<number>,
  key: RandomKey,
): Float32Array {
  if (epsilons.every((epsilon) => epsilon === 0)) return actions;
  const explores = fillUniform(foldIn(key, 'explores'), new Float32Array(epsilons.length));
  const values = fillUniform(foldIn(key, 'values'), new Float32Array(actions.length));
  const size = actionValues.length;
  return actions.map((action, i) => {
    const k = Math.floor(i / size);
    const count = actionValues[i % size];
    return explores[k] < epsilons[k] && count > 0 ? integerAction(values[i], count) : action;
  });
}

/** The canonical value of one of `count` integers, each for an equal share of 0 … 1. */
function integerAction(share: number, count: number): number {
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
