import type { Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * The rank of each sample in its context, 0 for the greatest evaluation. Ties are broken by position: the first sample ranks first.
 * Absent samples rank behind all present ones. Every pair is compared, which takes fewer operations than a sort of the few
 * samples of a context.
 *
 * @param evaluation [N, B]
 * @param mask [N, B]
 * @returns [N, B]
 */
export function ranks(evaluation: Tensor2D, mask: Tensor2D): Tensor2D {
  const [samples] = evaluation.shape;
  const values = tf.where(tf.greater(mask, 0), evaluation, tf.fill(evaluation.shape, -3e38));
  const self = tf.expandDims(values, 1);
  const other = tf.expandDims(values, 0);
  const place = tf.range(0, samples, 1, 'float32');
  const isEarlier = tf.greater(tf.reshape(place, [samples, 1, 1]), tf.reshape(place, [1, samples, 1]));
  const isAhead = tf.logicalOr(tf.greater(other, self), tf.logicalAnd(tf.equal(other, self), isEarlier));
  return tf.sum(tf.cast(isAhead, 'float32'), 1);
}

/**
 * Takes the feedback from samples that tie across the two sides: if the worst accepted and the best rejected sample of a context have
 * the same evaluation, position alone decided between them, and the samples of that value say nothing.
 *
 * @param evaluation [N, B]
 * @param accept 1 where a sample is accepted, [N, B]; every accepted sample ranks before every rejected one.
 * @param reject 1 where a sample is rejected, [N, B]
 */
export function withoutTies(
  evaluation: Tensor2D,
  accept: Tensor2D,
  reject: Tensor2D,
): { readonly accept: Tensor2D; readonly reject: Tensor2D } {
  const among = (side: Tensor2D, other: number) =>
    tf.where(tf.greater(side, 0), evaluation, tf.fill(evaluation.shape, other));
  const worstAccepted = tf.min(among(accept, 3e38), 0, true);
  const bestRejected = tf.max(among(reject, -3e38), 0, true);
  const decided = tf.cast(tf.greater(worstAccepted, bestRejected), 'float32');
  const differs = tf.cast(tf.notEqual(evaluation, worstAccepted), 'float32');
  const counts = tf.maximum(decided, differs);
  return { accept: tf.mul(accept, counts), reject: tf.mul(reject, counts) };
}

/** 1 where a condition holds and the sample is present, 0 elsewhere, [N, B]. */
export function indicator(condition: Tensor, mask: Tensor2D): Tensor2D {
  return tf.mul(tf.cast(condition, 'float32'), tf.cast(tf.greater(mask, 0), 'float32'));
}

/** The mask of a context whose samples are all present, [N, B]. */
export function allPresent(evaluation: Tensor2D): Tensor2D {
  return tf.onesLike(evaluation);
}
