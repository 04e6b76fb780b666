import { withCustomGradient } from '../../engine/custom-gradient.js';
import { logSoftmaxOf } from '../../engine/fused.js';
import type { NamedTensors, Tensor1D, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { outputLogits, type TransformerConfig, transformerRows } from '../../networks/transformer.js';
import type { ScoreParts } from '../trainable-model.js';

/**
 * Log-probs and divergences of each token, from which losses are composed. Shapes: B sequences, T positions, M = B·T rows, V
 * vocabulary size.
 */

/**
 * The log-probs of given tokens. Their gradient in the logits is onehot − softmax, times the gradient of the log-prob: one pass over
 * the softmax, in which the entries of the chosen tokens are then replaced.
 * @param logits [M, V]
 * @param tokens [M], int32
 * @returns log-probs in nats, [M]
 */
export function chosenLogProbs(logits: Tensor2D, tokens: Tensor1D): Tensor1D {
  const [M, V] = logits.shape;
  const ofLogits = withCustomGradient<Tensor1D>((x, save) => {
    const logProbs = logSoftmaxOf(x as Tensor2D);
    const places = tf.add(tokens, tf.range(0, M * V, V, 'int32'));
    const chosen: Tensor1D = tf.gather(tf.reshape(logProbs, [-1]), places);
    save([logProbs, places, chosen]);
    return {
      value: chosen,
      gradFunc: (gradient, saved) => {
        const [logProbs, places, chosen] = saved as [Tensor2D, Tensor1D, Tensor1D];
        const negative = tf.neg(gradient);
        const ofOthers = tf.mul(tf.exp(logProbs), tf.reshape(negative, [M, 1]));
        const ofChosen = tf.mul(tf.expm1(chosen), negative);
        const all = tf.tensorScatterUpdate(
          tf.reshape(ofOthers, [M * V]),
          tf.reshape(places, [M, 1]),
          ofChosen,
        );
        return tf.reshape(all, [M, V]);
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
