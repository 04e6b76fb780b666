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

/** The value of a function of several tensors, and its vector-Jacobian products. */
export interface ValueWithGradients<T extends Tensor> {
  readonly value: T;
  /**
   * The gradient of the loss in each input.
   * @param gradient the gradient of the loss in `value`.
   * @param saved the tensors that were given to `save`, in the same order.
   */
  gradFunc(gradient: T, saved: Tensor[]): Tensor[];
}

/**
 * Makes a function of several tensors with custom gradients; see `withCustomGradient`.
 * @param fn computes the value; calls `save`, its last argument, with the tensors that `gradFunc` needs.
 */
export function withCustomGradients<I extends readonly Tensor[], T extends Tensor>(
  fn: (...inputs: [...I, GradSaveFunc]) => ValueWithGradients<T>,
): (...inputs: I) => T {
  const differentiable = tf.customGrad(fn as unknown as Parameters<typeof tf.customGrad<T>>[0]);
  return (...inputs) => differentiable(...inputs);
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
