import type { Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * The encoding of actions for a critic. A continuous dimension or a dimension with two values is encoded as its canonical
 * number, a dimension with more values as a one-hot vector, because its values have no order. Shapes: N samples, B contexts, A
 * action dimensions.
 */

const isOneHot = (values: number) => values > 2;

/** The size of the code of an action with the given number of values in each dimension, [A]; 0 means continuous. */
export function codeSize(actionValues: ArrayLike<number>): number {
  return Array.from(actionValues).reduce((sum, values) => sum + (isOneHot(values) ? values : 1), 0);
}

/** The code [N, B, codeSize] of canonical actions [N, B, A]. */
export function encodeActions(actions: Tensor3D, actionValues: ArrayLike<number>): Tensor3D {
  const values = Array.from(actionValues);
  if (!values.some(isOneHot)) return actions;
  const parts = values.map((count, dimension): Tensor3D => {
    const own = tf.slice(actions, [0, 0, dimension], [-1, -1, 1]);
    if (!isOneHot(count)) return own;
    const indices = tf.round(tf.mul(tf.add(tf.clipByValue(own, -1, 1), 1), (count - 1) / 2));
    return tf.cast(tf.equal(indices, tf.range(0, count, 1, 'float32')), 'float32');
  });
  return tf.concat(parts, -1);
}
