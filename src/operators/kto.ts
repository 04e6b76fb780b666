import { z } from 'zod';
import type { Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule } from './kl-settings.js';
import { stopGradient } from './lagrange.js';
import { betaSetting, completeLogRatio } from './log-ratio-settings.js';
import { rate, where0 } from './masking.js';
import type { CheckedBatch, KlEstimate, Operator, OperatorResult } from './operator.js';

/**
 * Kahneman-Tversky Optimization (arXiv 2402.01306, equations 7 and 8), which needs no pairs. With the log-ratio
 * r = log π_θ(y|x) − log π_ref(y|x) of a sample and the reference point z₀,
 *
 *   L = [ Σ w·λ_D·(1 − σ(β·(r − z₀)))  over accepted samples, of accept weight w
 *       + Σ w·λ_U·(1 − σ(β·(z₀ − r)))  over rejected samples, of reject weight w ] / (the sum of all weights).
 *
 * The reference point is the divergence of the policy from its reference over the batch, at least 0 and without gradient:
 * - `referencePoint: kl` takes the batch's KL(π_ref ‖ π_θ), which is exact if the policy gives an exact KL. It agrees with the other
 *   direction to second order in the distance of the two policies.
 * - `referencePoint: mismatched` estimates KL(π_θ ‖ π_ref) as the paper and TRL do, by the mean log-ratio of mismatched pairs, a prompt
 *   with the completion of another. Such a completion is no sample of π_θ(·|x), so the estimate is biased, mostly towards 0, and it has
 *   the noise of a few samples; it costs one more scoring of the batch.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part; see dpo.ts.
 */

const defaultBeta = 0.1;

export const ktoSettings = z.strictObject({
  beta: betaSetting(defaultBeta),
  desirableWeight: z.number().min(0).default(1).describe('Weight of accepted samples, λ_D'),
  undesirableWeight: z.number().min(0).default(1).describe('Weight of rejected samples, λ_U'),
  referencePoint: z
    .enum(['kl', 'mismatched'])
    .default('kl')
    .describe(
      'kl: KL(reference ‖ policy) of the batch; mismatched: as TRL estimates KL(policy ‖ reference), from prompts with completions of other prompts',
    ),
  kl: addedKl,
});
/** The settings of KTO; each of them has a default. */
export type KtoSettings = z.input<typeof ktoSettings>;

/** z₀ by mismatched pairs: the mean log-ratio over the batch, at least 0, without gradient. */
function mismatchedPoint({ mismatchedLogRatio, mask }: CheckedBatch): Scalar {
  const sum = tf.sum(tf.mul(mask, where0(mismatchedLogRatio, mask)));
  return stopGradient(tf.maximum(tf.div(sum, tf.maximum(tf.sum(mask), 1e-8)), 0));
}

/** z₀ by the KL: its mean over the batch, all parts together, at least 0, without gradient. */
function klPoint({ parts }: KlEstimate): Scalar {
  const means = Object.values(parts).map((values) => tf.mean<Scalar>(tf.sum(values, -1)));
  const whole = means.reduce((sum, mean) => tf.add(sum, mean), tf.scalar(0));
  return stopGradient(tf.maximum(whole, 0));
}

/** Equations 7 and 8; see the head of this file. */
function ktoLoss(
  { beta = defaultBeta, desirableWeight, undesirableWeight, referencePoint }: z.output<typeof ktoSettings>,
  batch: CheckedBatch,
): OperatorResult {
  const { logProb, referenceLogProb, accept, reject, mask, kl } = batch;
  const weights: Tensor2D = tf.add(accept, reject);
  const logRatio = where0(tf.sub(logProb, referenceLogProb), weights);
  const point = referencePoint === 'kl' ? klPoint(kl()) : mismatchedPoint(batch);
  const margin = tf.mul(tf.sub(logRatio, point), beta);
  // 1 − σ(−z) = σ(z)
  const preference = tf.sigmoid(margin);
  const accepted = tf.sum(tf.mul(accept, tf.sub(1, preference)));
  const rejected = tf.sum(tf.mul(reject, preference));
  const weighted = tf.add(tf.mul(accepted, desirableWeight), tf.mul(rejected, undesirableWeight));
  const total = tf.sum(weights);
  const loss: Scalar = tf.div(weighted, tf.where(tf.greater(total, 0), total, tf.onesLike(total)));
  const meanRatio = (side: Tensor2D): Scalar =>
    tf.div(tf.sum(tf.mul(side, logRatio)), tf.maximum(tf.sum(side), 1e-8));
  return {
    loss,
    metrics: {
      'policy/loss': loss,
      'policy/referencePoint': point,
      'policy/logRatio/accepted': meanRatio(accept),
      'policy/logRatio/rejected': meanRatio(reject),
      'policy/acceptRate': rate(accept, mask),
      'policy/rejectRate': rate(reject, mask),
    },
  };
}

export const ktoDefinition = defineOperator({
  name: 'kto',
  description:
    'Kahneman-Tversky Optimization on accepted and rejected samples without pairs (arXiv 2402.01306)',
  settings: ktoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ beta, kl, ...weights }, klParts) => ({
    ...completeLogRatio({ beta, kl }, klParts, defaultBeta),
    ...weights,
  }),
  create: (settings) =>
    addedKlRule(
      settings.kl,
      {
        feedback: 'either',
        evaluation: false,
        kl: settings.referencePoint === 'kl' ? 'any' : 'none',
        mismatched: settings.referencePoint === 'mismatched',
      },
      (batch) => ktoLoss(settings, batch),
    ),
});

/**
 * KTO (arXiv 2402.01306, equations 7 and 8) with the given settings; without any, β = 0.1 and λ_D = λ_U = 1.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function kto(settings?: KtoSettings): Operator {
  return ktoDefinition.create(settings);
}
