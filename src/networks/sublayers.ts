import { withCustomGradients } from '../engine/custom-gradient.js';
import { rmsNormWithInverse } from '../engine/fused.js';
import type { Tensor } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * Parts of a transformer's layers whose gradients are written down here: they take fewer passes over memory than those that
 * TensorFlow.js composes.
 */

/**
 * RMSNorm over the last axis (arXiv 1910.07467): x·r·scale with r = 1 / √(mean(x²) + ε).
 * @param x [M, D]
 * @param scale [D]
 */
export function rmsNorm<T extends Tensor>(x: Tensor, scale: Tensor, epsilon: number): T {
  const normalized = withCustomGradients<readonly [Tensor, Tensor], T>((input, factors, save) => {
    const { normal, inverse } = rmsNormWithInverse(input, factors, epsilon);
    save([input, factors, inverse]);
    return {
      value: normal as T,
      gradFunc: (gradient, [x, scale, r]) => {
        // With p = dy·x: d scale = Σ_rows p·r, and dx = r·(dy·scale) − x·(r³/D)·Σ_columns p·scale.
        const D = scale!.shape[0]!;
        const product = tf.mul(gradient, x!);
        const along = tf.matMul(product, tf.reshape(scale!, [D, 1]));
        const share = tf.mul(along, tf.mul(tf.mul(r!, tf.square(r!)), 1 / D));
        return [
          tf.sub(tf.mul(tf.mul(gradient, scale!), r!), tf.mul(x!, share)),
          tf.reshape(tf.matMul(r!, product, true, false), [D]),
        ];
      },
    };
  });
  return normalized(x, scale);
}

/** SwiGLU (arXiv 2002.05202): gate·σ(gate)·up, for gate and up of one shape. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  const gated = withCustomGradients<readonly [Tensor, Tensor], Tensor>((g, u, save) => {
    const sigmoid = tf.sigmoid(g);
    const swish = tf.mul(g, sigmoid);
    save([sigmoid, swish, u]);
    return {
      value: tf.mul(swish, u),
      gradFunc: (gradient, [sigmoid, swish, up]) => {
        // The derivative of g·σ(g) is σ + g·σ·(1 − σ).
        const slope = tf.add(swish!, tf.mul(sigmoid!, tf.sub(1, swish!)));
        return [tf.mul(tf.mul(gradient, up!), slope), tf.mul(gradient, swish!)];
      },
    };
  });
  return gated(gate, up);
}

/**
 * softmax(q·kᵀ + mask)·v over the last two axes. The gradient through the softmax needs, for each query, the sum of its weights times
 * their gradients, which is the scalar product of its result and the result's gradient (arXiv 2205.14135, appendix B.2).
 * @param queries [.., Q, d]
 * @param keys [.., T, d]
 * @param values [.., T, d]
 * @param mask [Q, T], added to the scores; has no gradient.
 * @returns [.., Q, d]
 */
export function attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor): Tensor {
  const attended = withCustomGradients<readonly [Tensor, Tensor, Tensor], Tensor>((q, k, v, save) => {
    const weights = tf.softmax(tf.add(tf.matMul(q, k, false, true), mask));
    const mixed = tf.matMul(weights, v);
    save([q, k, v, weights, mixed]);
    return {
      value: mixed,
      gradFunc: (gradient, saved) => {
        const [q, k, v, weights, mixed] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
        const sums = tf.sum(tf.mul(gradient, mixed), -1, true);
        const scores = tf.mul(weights, tf.sub(tf.matMul(gradient, v, false, true), sums));
        return [
          tf.matMul(scores, k),
          tf.matMul(scores, q, true, false),
          tf.matMul(weights, gradient, true, false),
        ];
      },
    };
  });
  return attended(queries, keys, values);
}
