import type { Scalar, Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * Sums and means over the samples that are present. Where a mask is 0 the other tensors may hold anything, NaN included:
 * those entries are replaced before any arithmetic, so that neither values nor gradients see them.
 * Letters: N samples, B contexts.
 */

/** `values` where `mask` is not 0, `fallback` elsewhere. [N, B] */
export function keep(values: Tensor2D, mask: Tensor2D, fallback = 0): Tensor2D {
  return tf.where(tf.greater(mask, 0), values, tf.fill(values.shape, fallback)) as Tensor2D;
}

/** Σ_n w·x / Σ_n w per context, [B]; exactly 0, with no gradient, where all weights are 0. */
export function weightedMean(values: Tensor2D, weights: Tensor2D): Tensor1D {
  const total = tf.sum(weights, 0, true);
  const some = tf.greater(total, 0);
  const share = tf.div(weights, tf.where(some, total, tf.onesLike(total)));
  return tf.sum(tf.mul(share, keep(values, weights)), 0) as Tensor1D;
}

/** The mean of a tensor over everything, as a scalar. */
export function overall(values: Tensor): Scalar {
  return tf.mean(values) as Scalar;
}

/** Σ w / Σ mask: the share of samples a weight covers. */
export function shareOf(weights: Tensor2D, mask: Tensor2D): Scalar {
  return tf.div(tf.sum(tf.mul(weights, mask)), tf.maximum(tf.sum(mask), 1)) as Scalar;
}
