import type { Tensor, Tensor1D } from './tensors.js';
import * as tf from './tf.js';

/**
 * Operations that ONNX Runtime computes in one pass over its input, and TensorFlow.js in several. The engine onnx makes one node of
 * each in the graphs that it runs itself. In exported models, which use ONNX's own operators only, and on other engines they are
 * composed of TensorFlow.js' operations. None of them has a gradient: functions with a custom gradient call them.
 */

/** A backend that may have kernels for the operations of this file, under the names in `fusedKernels`. */
export interface FusingBackend {
  /** Whether it has them now. */
  readonly canFuse: boolean;
}

/** The names of the kernels; TensorFlow.js has none of these names. */
export const fusedKernels = {
  layerNorm: 'PmpoLayerNorm',
  rmsNorm: 'PmpoRmsNorm',
  rotary: 'PmpoRotary',
  logSoftmax: 'PmpoLogSoftmax',
} as const;

function canFuse(): boolean {
  return (tf.backend() as Partial<FusingBackend>).canFuse === true;
}

/** A layer normalization, and the moments of its input that its gradient needs. */
export interface LayerNormWithMoments {
  /** [M, D] */
  readonly normal: Tensor;
  /** The mean of each row, [M, 1]. */
  readonly mean: Tensor;
  /** 1 / √(variance + ε) of each row, [M, 1]. */
  readonly inverse: Tensor;
}

/**
 * Layer normalization over the last axis (arXiv 1607.06450).
 * @param x [M, D]
 * @param scale [D]
 * @param offset [D]
 * @returns (x − mean(x)) / √(mean((x − mean(x))²) + ε) · scale + offset, and the moments of x.
 */
export function layerNormWithMoments(
  x: Tensor,
  scale: Tensor,
  offset: Tensor,
  epsilon: number,
): LayerNormWithMoments {
  if (canFuse()) {
    const [normal, mean, inverse] = tf
      .engine()
      .runKernel(fusedKernels.layerNorm, { x, scale, offset }, { epsilon }) as [Tensor, Tensor, Tensor];
    return { normal, mean, inverse };
  }
  const mean = tf.mean(x, -1, true);
  const centered = tf.sub(x, mean);
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), epsilon));
  return { normal: tf.add(tf.mul(tf.mul(centered, inverse), scale), offset), mean, inverse };
}

/**
 * RMSNorm over the last axis (arXiv 1910.07467).
 * @param x [M, D]
 * @param scale [D]
 * @returns x / √(mean(x²) + ε) · scale, and 1 / √(mean(x²) + ε) [M, 1]
 */
export function rmsNormWithInverse(
  x: Tensor,
  scale: Tensor,
  epsilon: number,
): { readonly normal: Tensor; readonly inverse: Tensor } {
  if (canFuse()) {
    const [normal, inverse] = tf.engine().runKernel(fusedKernels.rmsNorm, { x, scale }, { epsilon }) as [
      Tensor,
      Tensor,
    ];
    return { normal, inverse };
  }
  const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
  return { normal: tf.mul(tf.mul(x, inverse), scale), inverse };
}

/**
 * Rotates the pairs (x_i, x_{i+d/2}) of each head (arXiv 2104.09864).
 * @param x [B, T, H·d]
 * @param cosines of the angles of P positions, [P, d/2]
 * @param sines [P, d/2]
 * @param positions [B], int32, if T is 1: the position of each token; by default that of x[:, t] is t.
 * @returns [B, T, H·d]
 */
export function rotateHeads(x: Tensor, cosines: Tensor, sines: Tensor, positions?: Tensor1D): Tensor {
  if (canFuse()) {
    const inputs = { x, cosines, sines, ...(positions === undefined ? {} : { positions }) };
    return tf.engine().runKernel(fusedKernels.rotary, inputs, {}) as Tensor;
  }
  const [B, T, width] = x.shape as [number, number, number];
  const half = cosines.shape[1]!;
  const [first, second] = tf.split(tf.reshape(x, [B, T, width / (2 * half), 2 * half]), 2, -1);
  const of = (table: Tensor): Tensor =>
    positions === undefined
      ? tf.reshape(tf.slice(table, [0, 0], [T, half]), [1, T, 1, half])
      : tf.reshape(tf.gather(table, positions), [B, 1, 1, half]);
  const [cos, sin] = [of(cosines), of(sines)];
  const turned = [
    tf.sub(tf.mul(first!, cos), tf.mul(second!, sin)),
    tf.add(tf.mul(second!, cos), tf.mul(first!, sin)),
  ];
  return tf.reshape(tf.concat(turned, -1), [B, T, width]);
}

/**
 * The logarithm of the softmax over the last axis.
 * @param logits [.., V]
 * @returns log-probs in nats, [.., V]
 */
export function logSoftmaxOf<T extends Tensor>(logits: T): T {
  if (canFuse()) return tf.engine().runKernel(fusedKernels.logSoftmax, { logits }, {}) as T;
  return tf.logSoftmax(logits) as T;
}
