import type { GradSaveFunc } from '@tensorflow/tfjs-core';
import type { Tensor } from './tensors.js';
import * as tf from './tf.js';

/** The value of a function at `x`, and its vector-Jacobian product: from the gradient of `value` to the gradient of `x`. */
export interface ValueWithGradient<T extends Tensor> {
  readonly value: T;
  /** @param saved the tensors that were given to `save`, in their order. */
  gradFunc(gradient: T, saved: Tensor[]): Tensor;
}

/**
 * A function of one tensor whose gradient is given, not derived: `tf.customGrad` with types that fit. TensorFlow.js declares
 * every parameter of the function as "tensor or save function", so that each would need a cast where it is used.
 * @param fn calls `save` with the tensors that its gradient needs.
 */
export function withCustomGradient<T extends Tensor>(
  fn: (x: Tensor, save: GradSaveFunc) => ValueWithGradient<T>,
): (x: Tensor) => T {
  return tf.customGrad(fn as Parameters<typeof tf.customGrad<T>>[0]);
}
