import type { Scalar, Tensor, Tensor1D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * Reductions over the contexts of a batch that holds several problems (`OperatorBatch.problems`). With one problem they are the plain ones,
 * so that its graph stays as it is.
 *
 * Shapes: B contexts, P problems with B/P contexts each, one problem after the other.
 */

/** The sums of values [B] over the contexts of each problem, [P], or a scalar if P is 1. */
export function problemSums(values: Tensor, problems: number): Tensor {
  return problems === 1 ? tf.sum(values) : tf.sum(tf.reshape(values, [problems, -1]), 1);
}

/** The means of values [B, D] over the contexts of each problem, [P · D]. */
export function problemMeans(values: Tensor, problems: number): Tensor1D {
  if (problems === 1) return tf.mean(values, 0);
  const [contexts = 0, size = 1] = values.shape;
  const means = tf.mean(tf.reshape(values, [problems, contexts / problems, size]), 1);
  return tf.reshape(means, [problems * size]);
}

/** A value of each problem, [P], for each of its contexts, [B]; unchanged if there is one problem, whose value fits all contexts. */
export function ofContexts(values: Tensor, problems: number, contexts: number): Tensor {
  if (problems === 1) return values;
  const copies = tf.tile(tf.reshape(values, [problems, 1]), [1, contexts / problems]);
  return tf.reshape(copies, [contexts]);
}

/** A sum over problems as the mean over them. */
export function meanOfSum(sum: Scalar, problems: number): Scalar {
  return problems === 1 ? sum : tf.div(sum, problems);
}
