import { z } from 'zod';
import type { Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addsKl, betaSetting, completeLogRatio, logRatioRule } from './log-ratio-settings.js';
import { rate, where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';

/**
 * Direct Preference Optimization (arXiv 2305.18290, equation 7) on the best accepted sample y_a and the worst rejected sample
 * y_r of each context:
 *
 *   L = −E_x log σ( β·[(log π_θ(y_a|x) − log π_ref(y_a|x)) − (log π_θ(y_r|x) − log π_ref(y_r|x))] )
 *
 * E_x is the mean over the contexts that have such a pair. Ties are broken by position: the first sample is chosen, which without
 * `evaluation` is the first accepted and the first rejected one. A sample is a candidate if its weight is positive; the size of the
 * weight does not matter.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part: by a weight, or as a bound, as for policies of actions. Such a
 * policy's reference follows it, so that what the loss may change in a moment, it could change again in the next.
 */

const defaultBeta = 1;

export const dpoSettings = z.strictObject({ beta: betaSetting(defaultBeta), kl: addedKl });
/** The settings of DPO; each of them has a default. */
export type DpoSettings = z.input<typeof dpoSettings>;

/** One-hot [N, B] of the first sample of greatest `value` among those of positive `weight`; 0 for a context without any. */
function best(value: Tensor2D, weight: Tensor2D): Tensor2D {
  const isCandidate = tf.greater(weight, 0);
  const index: Tensor1D = tf.argMax(tf.where(isCandidate, value, tf.fill(value.shape, -3e38)), 0);
  // Not `tf.oneHot`, which refuses N = 1.
  const isBest = tf.equal(tf.expandDims(tf.range(0, value.shape[0], 1, 'int32'), 1), index);
  return tf.mul(tf.cast(isBest, 'float32'), tf.cast(isCandidate, 'float32'));
}

/** The value of the sample that `oneHot` marks in each context, [B]. */
function select(values: Tensor2D, oneHot: Tensor2D): Tensor1D {
  return tf.sum(tf.mul(oneHot, where0(values, oneHot)), 0);
}

/** Equation 7; see the head of this file. */
function dpoLoss(
  beta: number,
  { logProb, referenceLogProb, evaluation, accept, reject, mask }: CheckedBatch,
): OperatorResult {
  const chosen = best(evaluation, accept);
  const rejected = best(tf.neg(evaluation), reject);
  const isPair: Tensor1D = tf.mul(tf.sum(chosen, 0), tf.sum(rejected, 0));
  const margin = (values: Tensor2D): Tensor1D => tf.sub(select(values, chosen), select(values, rejected));
  const logits = tf.mul(tf.sub(margin(logProb), margin(referenceLogProb)), beta);
  const pairs = tf.maximum(tf.sum(isPair), 1);
  const overPairs = (values: tf.Tensor): Scalar => tf.div(tf.sum(tf.mul(isPair, values)), pairs);
  // −log σ(z) = softplus(−z)
  const loss = overPairs(tf.softplus(tf.neg(logits)));
  return {
    loss,
    metrics: {
      'policy/loss': loss,
      'policy/margin': overPairs(logits),
      'policy/pairAccuracy': overPairs(tf.cast(tf.greater(logits, 0), 'float32')),
      'policy/pairRate': tf.mean(isPair),
      'policy/acceptRate': rate(accept, mask),
      'policy/rejectRate': rate(reject, mask),
    },
  };
}

export const dpoDefinition = defineOperator({
  name: 'dpo',
  description:
    'Direct Preference Optimization on the best and the worst sample of each context (arXiv 2305.18290)',
  settings: dpoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: (settings, klParts) => completeLogRatio(settings, klParts, defaultBeta),
  create: ({ beta = defaultBeta, kl }) => ({
    ...logRatioRule(kl, (batch) => dpoLoss(beta, batch)),
    needs: { feedback: 'pairs', evaluation: false, kl: addsKl(kl) ? 'any' : 'none' },
  }),
});

/**
 * DPO (arXiv 2305.18290, equation 7) with the given settings; without any, β = 1.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function dpo(settings?: DpoSettings): Operator {
  return dpoDefinition.create(settings);
}
