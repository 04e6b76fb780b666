import type { Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { CheckedBatch } from './operator.js';

/**
 * Sums and means over the samples that are present. Entries outside the mask may hold anything, NaN included: they are
 * replaced before any arithmetic, so that neither the value nor its gradient depends on them.
 *
 * Shapes: N samples per context, B contexts.
 */

/** `values` [N, B] where `mask` [N, B] is positive, 0 elsewhere. */
export function where0(values: Tensor2D, mask: Tensor2D): Tensor2D {
  return tf.where(tf.greater(mask, 0), values, tf.fill(values.shape, 0));
}

/**
 * The weighted mean of each context, Σ_n w·x / Σ_n w.
 *
 * @param values [N, B]
 * @param weights [N, B], at least 0
 * @returns [B]; exactly 0, with a gradient of exactly 0, for a context whose weights are all 0.
 */
export function maskedMean(values: Tensor2D, weights: Tensor2D): Tensor1D {
  const total: Tensor1D = tf.sum(weights, 0);
  const sum: Tensor1D = tf.sum(tf.mul(weights, where0(values, weights)), 0);
  return tf.div(sum, tf.where(tf.greater(total, 0), total, tf.onesLike(total)));
}

/** The share of the present samples that a weight covers, Σ w / Σ mask, a scalar. Both are [N, B]. */
export function rate(weights: Tensor2D, mask: Tensor2D): Scalar {
  return tf.div(tf.sum(weights), tf.maximum(tf.sum(mask), 1));
}

/** The mean over the present samples of each context, and of that over all B contexts, a scalar. Both are [N, B]. */
export function expectation(values: Tensor2D, mask: Tensor2D): Scalar {
  return tf.mean(maskedMean(values, mask));
}

/**
 * Log-probs [N, B] divided by the number of tokens of each sample: the mean log-prob of a token. 0 outside the mask.
 * @param length [N, B], at least 1
 */
export function perToken(logProb: Tensor2D, length: Tensor2D, mask: Tensor2D): Tensor2D {
  return tf.div(where0(logProb, mask), tf.maximum(where0(length, mask), 1));
}

/** The log-probs [N, B] that an M-step raises: one plane for each part of a policy that divides, else that of the whole. */
export function likelihoodParts({
  logProb,
  decoupledLogProb,
}: Pick<CheckedBatch, 'logProb' | 'decoupledLogProb'>): readonly Tensor2D[] {
  return Object.values(decoupledLogProb?.() ?? { whole: logProb });
}
