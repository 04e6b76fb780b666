import type { Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { rate, where0 } from './masking.js';
import type { CheckedBatch } from './operator.js';
import { problemSums } from './problems.js';

/**
 * Pairs of samples, for operators that compare two samples of one context: the best accepted sample y_a and the worst rejected sample
 * y_r. Ties are broken by position: the first sample is chosen, which without `evaluation` is the first accepted and the first
 * rejected one. A sample is a candidate if its weight is positive; the size of the weight does not matter.
 *
 * Shapes: N samples per context, B contexts.
 */
export interface Pairs {
  /** 1 for a context that has a pair, [B]. */
  readonly isPair: Tensor1D;
  /** The values [N, B] of y_a, [B]; 0 without an accepted sample. */
  accepted(values: Tensor2D): Tensor1D;
  /** The values [N, B] of y_r, [B]; 0 without a rejected sample. */
  rejected(values: Tensor2D): Tensor1D;
  /** The difference of the values [N, B] of y_a and y_r, [B]. */
  margin(values: Tensor2D): Tensor1D;
  /** The mean of values [B] over the contexts that have a pair, and over problems; exactly 0 if none has. */
  mean(values: tf.Tensor): Scalar;
}

/** One-hot [N, B] of the first sample of greatest `value` among those of positive `weight`; 0 for a context without any. */
export function best(value: Tensor2D, weight: Tensor2D): Tensor2D {
  const isCandidate = tf.greater(weight, 0);
  const index: Tensor1D = tf.argMax(tf.where(isCandidate, value, tf.fill(value.shape, -3e38)), 0);
  // Not `tf.oneHot`, which refuses N = 1.
  const isBest = tf.equal(tf.expandDims(tf.range(0, value.shape[0], 1, 'int32'), 1), index);
  return tf.mul(tf.cast(isBest, 'float32'), tf.cast(isCandidate, 'float32'));
}

/** The value of the sample that `oneHot` marks in each context, [B]. */
export function select(values: Tensor2D, oneHot: Tensor2D): Tensor1D {
  return tf.sum(tf.mul(oneHot, where0(values, oneHot)), 0);
}

/** The pair of each context. */
export function pairsOf({ evaluation, accept, reject, problems }: CheckedBatch): Pairs {
  const chosen = best(evaluation, accept);
  const worst = best(tf.neg(evaluation), reject);
  const isPair: Tensor1D = tf.mul(tf.sum(chosen, 0), tf.sum(worst, 0));
  const counts = tf.maximum(problemSums(isPair, problems), 1);
  const accepted = (values: Tensor2D) => select(values, chosen);
  const rejected = (values: Tensor2D) => select(values, worst);
  return {
    isPair,
    accepted,
    rejected,
    margin: (values) => tf.sub(accepted(values), rejected(values)),
    mean: (values) => {
      const means: Scalar = tf.div(problemSums(tf.mul(isPair, values), problems), counts);
      return problems === 1 ? means : tf.mean(means);
    },
  };
}

/**
 * log π_θ(y|x) − log π_ref(y|x) of each sample, [N, B]. Samples are compared by this difference, never by the log-probs themselves: a
 * difference of two sequences' log-probs in the thousands has lost the digits that the log-ratio holds.
 */
export function logRatios({ logProb, referenceLogProb }: CheckedBatch): Tensor2D {
  return tf.sub(logProb, referenceLogProb);
}

/** −log σ(z), without overflow. */
export function logisticLoss(logits: tf.Tensor): tf.Tensor {
  return tf.softplus(tf.neg(logits));
}

/** What operators on pairs report. @param margins of the pairs [B], positive where the policy prefers the accepted sample. */
export function pairMetrics(
  pairs: Pairs,
  loss: Scalar,
  margins: tf.Tensor,
  { accept, reject, mask }: CheckedBatch,
): Record<string, Scalar> {
  return {
    'policy/loss': loss,
    'policy/margin': pairs.mean(margins),
    'policy/pairAccuracy': pairs.mean(tf.cast(tf.greater(margins, 0), 'float32')),
    'policy/pairRate': tf.mean(pairs.isPair),
    'policy/acceptRate': rate(accept, mask),
    'policy/rejectRate': rate(reject, mask),
  };
}
