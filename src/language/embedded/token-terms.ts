import { withCustomGradient } from '../../engine/custom-gradient.js';
import type { NamedTensors, Tensor1D, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { outputLogits, type TransformerConfig, transformerRows } from '../../networks/transformer.js';
import type { ScoreParts } from '../trainable-model.js';

/**
 * Log-probs and divergences of each token, from which losses are composed. Shapes: B sequences, T positions, M = B·T rows, V
 * vocabulary size.
 */

/**
 * The log-probs of given tokens. Their gradient in the logits is one expression, onehot − softmax.
 * @param logits [M, V]
 * @param tokens [M], int32
 * @returns log-probs in nats, [M]
 */
export function chosenLogProbs(logits: Tensor2D, tokens: Tensor1D): Tensor1D {
  const [M, V] = logits.shape;
  const ofLogits = withCustomGradient<Tensor1D>((x, save) => {
    const logProbs = tf.logSoftmax(x);
    save([logProbs, tokens]);
    const indices = tf.add(tokens, tf.range(0, M * V, V, 'int32'));
    return {
      value: tf.gather(tf.reshape(logProbs, [-1]), indices),
      gradFunc: (gradient, [savedLogProbs, savedTokens]) => {
        const chosen = tf.oneHot(savedTokens, V, 1, 0, 'float32');
        return tf.mul(tf.sub(chosen, tf.exp(savedLogProbs)), tf.reshape(gradient, [-1, 1]));
      },
    };
  });
  return ofLogits(logits);
}

/** The requested terms, [M] each, in nats. */
export interface TokenTerms {
  /** log π_θ(next). */
  readonly logProb?: Tensor1D;
  /** log π_ref(next). */
  readonly referenceLogProb?: Tensor1D;
  /** KL(π_ref ‖ π_θ) over the vocabulary. */
  readonly kl?: Tensor1D;
  /** KL(π_θ ‖ π_ref). */
  readonly reverseKl?: Tensor1D;
}

/**
 * The terms of the token after each position, differentiable in the parameters of the policy.
 *
 * @param tokens [B, T], padded on the right
 * @param next [B, T], the token after each position
 * @param parts the requested terms
 */
export function tokenTerms(
  policy: NamedTensors,
  reference: NamedTensors,
  tokens: Tensor2D,
  next: Tensor2D,
  parts: ScoreParts,
  config: TransformerConfig,
): TokenTerms {
  const logitsOf = (parameters: NamedTensors) =>
    outputLogits(parameters, transformerRows(parameters, tokens, config).rows);
  const chosen: Tensor1D = tf.reshape(next, [-1]);
  const wantsKl = parts.kl === true || parts.reverseKl === true;
  const logits = parts.policy === true || wantsKl ? logitsOf(policy) : undefined;
  const referenceLogits = parts.reference === true || wantsKl ? logitsOf(reference) : undefined;
  const [p, q] = wantsKl ? [tf.logSoftmax(logits!), tf.logSoftmax(referenceLogits!)] : [];
  return {
    ...(parts.policy === true ? { logProb: chosenLogProbs(logits!, chosen) } : {}),
    ...(parts.reference === true ? { referenceLogProb: chosenLogProbs(referenceLogits!, chosen) } : {}),
    ...(parts.kl === true ? { kl: divergence(q!, p!) } : {}),
    ...(parts.reverseKl === true ? { reverseKl: divergence(p!, q!) } : {}),
  };
}

/** KL(p ‖ q) of distributions given as log-probs [M, V]: [M]. */
function divergence(p: Tensor2D, q: Tensor2D): Tensor1D {
  return tf.sum(tf.mul(tf.exp(p), tf.sub(p, q)), -1);
}
