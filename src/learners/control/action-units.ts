import * as tf from '../../engine/tf.js';

/** What the canonical numbers of actions, −1 … 1 in each dimension, stand for. A action dimensions. */
export interface ActionUnits {
  /** What −1 stands for in each dimension, [A]. */
  readonly actionMinimum: Float32Array;
  /** What 1 stands for, [A]. */
  readonly actionMaximum: Float32Array;
  /** How many values each takes, 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
}

/** Canonical actions within their bounds, [… , A], in the environment's units; what is whole there is exactly so. */
export function inUnits(
  canonical: tf.Tensor,
  { actionMinimum, actionMaximum, actionValues }: ActionUnits,
): tf.Tensor {
  const half = tf.tensor1d(actionMaximum.map((high, i) => (high - actionMinimum[i]) / 2));
  const middle = tf.tensor1d(actionMaximum.map((high, i) => (high + actionMinimum[i]) / 2));
  const actions = tf.add(tf.mul(canonical, half), middle);
  if (actionValues.every((values) => values === 0)) return actions;
  const isWhole = tf.tensor1d(Float32Array.from(actionValues, (values) => Number(values > 0)));
  return tf.add(tf.mul(tf.round(actions), isWhole), tf.mul(actions, tf.sub(1, isWhole)));
}
