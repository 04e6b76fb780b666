import { withCustomGradient } from '../../engine/custom-gradient.js';
import type { NamedTensors, Tensor1D, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { outputLogits, type TransformerConfig, transformerRows } from '../../networks/transformer.js';
import type { ScoreParts } from '../trainable-model.js';

/**
 * Of each token, what losses are made of. Letters: B sequences, T positions, M = B·T of them, V vocabulary.
 */

/**
 * The log-probs of chosen tokens, and their gradient in one expression: onehot − softmax.
 * @param logits [M, V]
 * @param tokens [M], int32
 * @returns nats, [M]
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

/** What of each token is wanted; one of the first two at least. */
export type TermParts = ScoreParts;

export interface TokenTerms {
  /** log π_θ(next), nats, [M]. */
  readonly logProb?: Tensor1D;
  /** log π_ref(next). */
  readonly referenceLogProb?: Tensor1D;
  /** KL(π_ref ‖ π_θ) over the vocabulary. */
  readonly kl?: Tensor1D;
  /** KL(π_θ ‖ π_ref). */
  readonly reverseKl?: Tensor1D;
}

/**
 * The terms of the token after each position. Differentiable in `policy`; the reference is held fixed.
 *
 * @param tokens [B, T], padded on the right
 * @param next [B, T], the token that follows each
 */
export function tokenTerms(
  policy: NamedTensors,
  reference: NamedTensors,
  tokens: Tensor2D,
  next: Tensor2D,
  parts: TermParts,
  config: TransformerConfig,
): TokenTerms {
  const logitsOf = (parameters: NamedTensors) =>
    outputLogits(parameters, transformerRows(parameters, tokens, config).rows);
  const chosen: Tensor1D = tf.reshape(next, [-1]);
  const wantsKl = parts.kl === true || parts.reverseKl === true;
  const logits = parts.policy === true || wantsKl ? logitsOf(policy) : undefined;
  const fixed = parts.reference === true || wantsKl ? logitsOf(reference) : undefined;
  const [p, q] = wantsKl ? [tf.logSoftmax(logits!), tf.logSoftmax(fixed!)] : [];
  return {
    ...(parts.policy === true ? { logProb: chosenLogProbs(logits!, chosen) } : {}),
    ...(parts.reference === true ? { referenceLogProb: chosenLogProbs(fixed!, chosen) } : {}),
    ...(parts.kl === true ? { kl: divergence(q!, p!) } : {}),
    ...(parts.reverseKl === true ? { reverseKl: divergence(p!, q!) } : {}),
  };
}

/** KL of distributions given by their log-probs [M, V], first from second: [M]. */
function divergence(from: Tensor2D, to: Tensor2D): Tensor1D {
  return tf.sum(tf.mul(tf.exp(from), tf.sub(from, to)), -1);
}
