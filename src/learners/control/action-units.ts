import * as tf from '../../engine/tf.js';

/** The units of canonical actions, which are −1 … 1 in each dimension. Shapes: A action dimensions. */
export interface ActionUnits {
  /** The value of −1 in each dimension, [A]. */
  readonly actionMinimum: Float32Array;
  /** The value of 1 in each dimension, [A]. */
  readonly actionMaximum: Float32Array;
  /** Number of values that each dimension takes, 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
}

/** Whether any action dimension takes integers. @param actionValues the number of values of each, 0 for a continuous one, [A]. */
export function hasIntegers(actionValues: ArrayLike<number>): boolean {
  return Array.from(actionValues).some((values) => values > 0);
}

/** Canonical actions within their bounds, [… , A], in the environment's units. Integer dimensions are exactly integers. */
export function inUnits(
  canonical: tf.Tensor,
  { actionMinimum, actionMaximum, actionValues }: ActionUnits,
): tf.Tensor {
  const half = tf.tensor1d(actionMaximum.map((high, i) => (high - actionMinimum[i]) / 2));
  const middle = tf.tensor1d(actionMaximum.map((high, i) => (high + actionMinimum[i]) / 2));
  const actions = tf.add(tf.mul(canonical, half), middle);
  if (!hasIntegers(actionValues)) return actions;
  const isInteger = tf.tensor1d(Float32Array.from(actionValues, (values) => Number(values > 0)));
  return tf.add(tf.mul(tf.round(actions), isInteger), tf.mul(actions, tf.sub(1, isInteger)));
}
