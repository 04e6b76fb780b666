import type { Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

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
  const total: Tensor2D = tf.sum(weights, 0, true);
  const share = tf.div(weights, tf.where(tf.greater(total, 0), total, tf.onesLike(total)));
  return tf.sum(tf.mul(share, where0(values, weights)), 0);
}

/** The share of the present samples that a weight covers, Σ w / Σ mask, a scalar. Both are [N, B]. */
export function rate(weights: Tensor2D, mask: Tensor2D): Scalar {
  return tf.div(tf.sum(weights), tf.maximum(tf.sum(mask), 1));
}
