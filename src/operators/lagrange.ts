import type { Scalar, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * Dual variables: weights that gradient descent raises while their constraint is broken and lowers while it holds. They
 * are stored through softplus, as Acme's MPO does, so that they stay positive. Letters: B contexts, D the size of a part.
 */

/** Below this a stored dual is as good as 0 and would take long to come back. */
const lowest = -18;

/** The stored value whose softplus is `value`. */
export function storedDual(value: number, size: number): { shape: number[]; data: Float32Array } {
  // log(e^v − 1), which is v itself once e^−v is lost in rounding.
  const stored = value > 30 ? value : Math.log(Math.expm1(value));
  return { shape: [size], data: new Float32Array(size).fill(stored) };
}

/** The dual's value, positive. */
export function dualValue(stored: Tensor): Tensor {
  return tf.add(tf.softplus(stored), 1e-8);
}

/** Keeps stored duals from running off to where softplus is flat. */
export function projectDual(stored: Tensor): Tensor {
  return tf.maximum(stored, lowest);
}

/**
 * A KL part held below `epsilon` in each of its D dimensions: the penalty that the policy pays with the dual fixed, and the
 * loss that moves the dual with the policy fixed (arXiv 1806.06920, equation 16, and rlax's KL constraints).
 *
 * @param kl [B, D], nats
 * @param stored [D]
 */
export function boundedKl(
  kl: Tensor2D,
  stored: Tensor,
  epsilon: number,
): { penalty: Scalar; dualLoss: Scalar } {
  const weight = dualValue(stored);
  const mean = tf.mean(kl, 0);
  return {
    penalty: tf.sum(tf.mul(fixed(weight), mean)) as Scalar,
    dualLoss: tf.sum(tf.mul(weight, tf.sub(epsilon, fixed(mean)))) as Scalar,
  };
}

/** The same value with no gradient flowing through it. */
export function fixed<T extends Tensor>(value: T): T {
  return stopGradient(value) as T;
}

const stopGradient = tf.customGrad((x) => {
  const value = x as Tensor;
  return {
    value: tf.mul(value, 1),
    gradFunc: (dy: Tensor) => tf.zerosLike(dy),
  };
});
