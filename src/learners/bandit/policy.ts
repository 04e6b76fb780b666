import { fillUniform, foldIn, type RandomKey } from '../../core/random-keys.js';
import { categoricalFamily } from '../../distributions/categorical.js';
import type { Distribution } from '../../distributions/distribution.js';
import { gaussian } from '../../distributions/gaussian.js';
import type { Tensor, Tensor1D, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';

/**
 * Policies without a state: their parameters are a vector for each problem and not the outputs of a network. Points are canonical: the
 * bounds of each dimension are −1 and 1.
 *
 * Shapes: B problems or contexts, D dimensions, M parameters of one policy, K bins.
 */

/** The settings of a bandit's policy. */
export type BanditPolicyConfig =
  | {
      readonly head: 'gaussian';
      /** Standard deviation at the start, in canonical units. */
      readonly initialStddev: number;
    }
  | {
      /** Each dimension is divided into `bins` values, of which each has a probability of its own. */
      readonly head: 'categorical';
      readonly bins: number;
    };

/** A kind of policy, and what the search has to know about it. */
export interface BanditPolicy {
  readonly noise: 'normal' | 'uniform';
  /** M */
  readonly size: number;
  /** Name of each part of the KL to its D. */
  readonly klParts: Readonly<Record<string, number>>;
  /** Parameters [M] at the start of the problem of a seed. */
  initial(key: RandomKey): Float32Array;
  /** The policies of parameters [B, M]. */
  create(parameters: Tensor2D): Distribution;
  /** 1 where parameters [B, M] are those of a policy that still searches, 0 where it is lost, [B]. */
  sound(parameters: Tensor2D): Tensor1D;
  /** What became of a policy whose parameters [M] are not sound: its deviation vanished, or something became immense. */
  lost(parameters: Float32Array): 'collapsed' | 'diverged';
}

/** Where a search may start: the mean of a Gaussian is drawn uniformly within these bounds. */
const startWithin = 0.9;
/** A Gaussian whose mean or standard deviation is above this many half-widths of the domain has diverged. */
export const largestScale = 100;
/** A Gaussian whose standard deviation is below this share of the half-width of the domain has collapsed: float32 ends there. */
export const smallestStddev = 1e-6;

/** The policy of D dimensions that the settings describe. */
export function createPolicy(config: BanditPolicyConfig, dimensions: number): BanditPolicy {
  return config.head === 'gaussian'
    ? gaussianPolicy(config.initialStddev, dimensions)
    : categoricalPolicy(config.bins, dimensions);
}

/** Parameters are the means and the logarithms of the standard deviations, [B, 2 D]. */
function gaussianPolicy(initialStddev: number, dimensions: number): BanditPolicy {
  const parts = (parameters: Tensor2D) => tf.split<Tensor2D>(parameters, 2, 1);
  return {
    noise: 'normal',
    size: 2 * dimensions,
    klParts: { mean: dimensions, covariance: dimensions },
    initial(key) {
      const start = fillUniform(foldIn(key, 'start'), new Float32Array(dimensions));
      return Float32Array.from({ length: 2 * dimensions }, (_, i) =>
        i < dimensions ? startWithin * (2 * start[i] - 1) : Math.log(initialStddev),
      );
    },
    create(parameters) {
      const [mean, logStddev] = parts(parameters);
      return gaussian(mean, tf.exp(logStddev));
    },
    sound(parameters) {
      const [mean, logStddev] = parts(parameters);
      const within = [
        tf.less(tf.abs(mean), largestScale),
        tf.less(logStddev, Math.log(largestScale)),
        tf.greater(logStddev, Math.log(smallestStddev)),
      ];
      // A comparison with NaN is false, so that a policy that is not finite is lost too.
      return allTrue(within.reduce((all, one) => tf.logicalAnd(all, one)));
    },
    lost: (parameters) =>
      parameters.subarray(dimensions).some((logStddev) => logStddev <= Math.log(smallestStddev))
        ? 'collapsed'
        : 'diverged',
  };
}

/** Parameters are the logits of the bins, [B, D · K]. */
function categoricalPolicy(bins: number, dimensions: number): BanditPolicy {
  const family = categoricalFamily({ bins: Array.from({ length: dimensions }, () => bins) });
  const size = family.parameterCount(dimensions);
  return {
    noise: family.noise,
    size,
    klParts: family.klParts(dimensions),
    // Every value is equally likely at the start.
    initial: () => new Float32Array(size),
    create: (parameters) => family.create(parameters, dimensions),
    sound: (parameters) => allTrue(tf.less(tf.abs(parameters), largestLogit)),
    lost: () => 'diverged',
  };
}

/** Logits beyond this are not finite for all purposes. */
const largestLogit = 1e6;

/** 1 for each row of booleans [B, M] in which all are true, 0 for the others. */
function allTrue(conditions: Tensor): Tensor1D {
  return tf.min(tf.cast(conditions, 'float32'), 1);
}
