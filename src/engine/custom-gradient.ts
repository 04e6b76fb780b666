import type { GradSaveFunc } from '@tensorflow/tfjs-core';
import type { Tensor } from './tensors.js';
import * as tf from './tf.js';

/** The value of a function at `x`, and its vector-Jacobian product. */
export interface ValueWithGradient<T extends Tensor> {
  readonly value: T;
  /**
   * The gradient of the loss in `x`.
   * @param gradient the gradient of the loss in `value`.
   * @param saved the tensors that were given to `save`, in the same order.
   */
  gradFunc(gradient: T, saved: Tensor[]): Tensor;
}

/**
 * Makes a function of one tensor with a custom gradient: `tf.customGrad` with usable types. TensorFlow.js declares every
 * parameter of the function as "a tensor or the save function", so that callers would need casts.
 * @param fn computes the value; calls `save` with the tensors that `gradFunc` needs.
 */
export function withCustomGradient<T extends Tensor>(
  fn: (x: Tensor, save: GradSaveFunc) => ValueWithGradient<T>,
): (x: Tensor) => T {
  return tf.customGrad(fn as Parameters<typeof tf.customGrad<T>>[0]);
}
