import { withCustomGradients } from '../engine/custom-gradient.js';
import { layerNormWithMoments } from '../engine/fused.js';
import type { Tensor } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/** Added to the variance, as in Acme's networks. */
const epsilon = 1e-5;

/**
 * Layer normalization over the last axis (arXiv 1607.06450): n·scale + offset with n = (x − μ)·r, the mean μ of a row and
 * r = 1 / √(variance + ε). Its gradient is written down here, because it takes fewer passes over memory than the one that TensorFlow.js
 * composes.
 * @param x [M, D]
 * @param scale [D]
 * @param offset [D]
 * @returns [M, D]
 */
export function layerNorm<T extends Tensor>(x: Tensor, scale: Tensor, offset: Tensor): T {
  const normalized = withCustomGradients<readonly [Tensor, Tensor, Tensor], T>((x, scale, offset, save) => {
    const { normal, mean, inverse } = layerNormWithMoments(x, scale, offset, epsilon);
    save([x, scale, mean, inverse]);
    return {
      value: normal as T,
      gradFunc: (gradient, saved) => gradients(gradient, ...(saved as [Tensor, Tensor, Tensor, Tensor])),
    };
  });
  return normalized(x, scale, offset);
}

/**
 * With c = x − μ, h = dy·scale, and means over a row: dx = r·(h − mean(h) − c·r²·mean(h·c)), d scale = Σ_rows dy·c·r and
 * d offset = Σ_rows dy. The sums are products with the scale and with r, so that neither n nor h·c is computed.
 */
function gradients(dy: Tensor, x: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor): Tensor[] {
  const [M, D] = x.shape as [number, number];
  const centered = tf.sub(x, mean);
  const product = tf.mul(dy, centered);
  const column = tf.reshape(scale, [D, 1]);
  // The division by D is here, where ONNX Runtime does not merge it with a matrix product, which would then take twice the time.
  const share = tf.mul(inverse, 1 / D);
  const slope = tf.mul(tf.matMul(product, column), tf.mul(share, tf.square(inverse)));
  const shift = tf.mul(tf.matMul(dy, column), share);
  const scaled = tf.mul(tf.mul(dy, scale), inverse);
  return [
    tf.sub(tf.sub(scaled, tf.mul(centered, slope)), shift),
    tf.reshape(tf.matMul(tf.reshape(inverse, [1, M]), product), [D]),
    tf.sum(dy, 0),
  ];
}
