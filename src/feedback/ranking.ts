import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * The rank of each sample among those of its context, 0 for the greatest evaluation; of equal ones the first comes first.
 * Absent samples rank behind all present ones. Counted by comparing all pairs, which for the few samples of a context is
 * one graph of elementwise operations where a sort is many.
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
  const earlier = tf.greater(tf.reshape(place, [samples, 1, 1]), tf.reshape(place, [1, samples, 1]));
  const ahead = tf.logicalOr(tf.greater(other, self), tf.logicalAnd(tf.equal(other, self), earlier));
  return tf.sum(tf.cast(ahead, 'float32'), 1) as Tensor2D;
}

/** 1 where a condition holds and the sample is present, [N, B]. */
export function where(condition: tf.Tensor, mask: Tensor2D): Tensor2D {
  return tf.mul(tf.cast(condition, 'float32'), tf.cast(tf.greater(mask, 0), 'float32')) as Tensor2D;
}
