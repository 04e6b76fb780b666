import type { Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * How a critic is told of actions. A continuous dimension, and one of two values, is its canonical number; of more values
 * than two each has a place of its own, since nothing says that the third is more than the first. Letters: N samples, B
 * contexts, A action dimensions.
 */

const isCoded = (values: number) => values > 2;

/** The size of the code of an action whose dimensions take `actionValues` values (0: continuous), [A]. */
export function codeSize(actionValues: ArrayLike<number>): number {
  return Array.from(actionValues).reduce((sum, values) => sum + (isCoded(values) ? values : 1), 0);
}

/** The code [N, B, codeSize] of canonical actions [N, B, A]. */
export function encodeActions(actions: Tensor3D, actionValues: ArrayLike<number>): Tensor3D {
  const values = Array.from(actionValues);
  if (!values.some(isCoded)) return actions;
  const parts = values.map((count, dimension): Tensor3D => {
    const own = tf.slice(actions, [0, 0, dimension], [-1, -1, 1]);
    if (!isCoded(count)) return own;
    const indices = tf.round(tf.mul(tf.add(tf.clipByValue(own, -1, 1), 1), (count - 1) / 2));
    return tf.cast(tf.equal(indices, tf.range(0, count, 1, 'float32')), 'float32');
  });
  return tf.concat(parts, -1);
}
