import { z } from 'zod';
import type { Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { fixed } from './lagrange.js';
import { keep, overall, shareOf } from './masking.js';
import type { Operator, OperatorBatch, OperatorDefinition } from './operator.js';

/**
 * Kahneman-Tversky Optimization (arXiv 2402.01306, equations 7 and 8), which needs no pairs. With the log-ratio
 * r = log π_θ(y|x) − log π_ref(y|x) of a sample and the reference point z₀,
 *
 *   L = Σ w·λ_D·(1 − σ(β·(r − z₀)))  over accepted samples, of accept weight w
 *     + Σ w·λ_U·(1 − σ(β·(z₀ − r)))  over rejected samples, of reject weight w,   divided by the sum of all weights.
 *
 * z₀ is what a sample's log-ratio is measured against: the divergence of the policy from its reference, estimated over the
 * batch, not below 0, and with no gradient. The paper has KL(π_θ ‖ π_ref) estimated from prompts and completions that do not
 * belong together; here it is the batch's own KL(π_ref ‖ π_θ), exact where the policy has it, which agrees with the other
 * direction to second order in their distance.
 */

export const ktoSettings = z.strictObject({
  beta: z.number().positive().default(0.1).describe('Strength of the pull towards the reference policy'),
  desirableWeight: z.number().min(0).default(1).describe('Weight of accepted samples, λ_D'),
  undesirableWeight: z.number().min(0).default(1).describe('Weight of rejected samples, λ_U'),
});
export type KtoSettings = z.infer<typeof ktoSettings>;

/** The batch's KL, all parts together, as a number without gradient, not below 0. */
function referencePoint(batch: OperatorBatch): Scalar {
  const parts = Object.values(batch.kl().parts).map((values) => tf.mean(tf.sum(values, -1)));
  const whole = parts.reduce((sum, part) => tf.add(sum, part), tf.scalar(0));
  return fixed(tf.maximum(whole, 0)) as Scalar;
}

/** KTO with the given settings. See the head of this file for the loss. */
export function createKto({ beta, desirableWeight, undesirableWeight }: KtoSettings): Operator {
  function loss(batch: OperatorBatch) {
    const accept = tf.mul(keep(batch.accept, batch.mask), batch.mask) as Tensor2D;
    const reject = tf.mul(keep(batch.reject, batch.mask), batch.mask) as Tensor2D;
    const weights = tf.add(accept, reject) as Tensor2D;
    const logRatio = tf.sub(keep(batch.logProb, weights), keep(batch.referenceLogProb, weights));
    const point = referencePoint(batch);
    const margin = tf.mul(tf.sub(logRatio, point), beta);
    // 1 − σ(z) = σ(−z)
    const accepted = tf.sum(tf.mul(accept, tf.sigmoid(tf.neg(margin))));
    const rejected = tf.sum(tf.mul(reject, tf.sigmoid(margin)));
    const total = tf.sum(weights);
    const count = tf.where(tf.greater(total, 0), total, tf.onesLike(total));
    const whole = tf.add(tf.mul(accepted, desirableWeight), tf.mul(rejected, undesirableWeight));
    const value = tf.div(whole, count) as Scalar;
    const meanRatio = (side: Tensor2D) =>
      tf.div(tf.sum(tf.mul(side, logRatio)), tf.maximum(tf.sum(side), 1e-8)) as Scalar;
    return {
      loss: value,
      metrics: {
        'policy/loss': value,
        'policy/referencePoint': overall(point),
        'policy/logRatio/accepted': meanRatio(accept),
        'policy/logRatio/rejected': meanRatio(reject),
        'policy/acceptRate': shareOf(accept, batch.mask),
        'policy/rejectRate': shareOf(reject, batch.mask),
      },
    };
  }
  return {
    needs: { feedback: 'either', evaluation: false, exactKl: false },
    initialState: () => ({}),
    loss,
  };
}

export const ktoDefinition: OperatorDefinition<KtoSettings> = {
  name: 'kto',
  description:
    'Kahneman-Tversky Optimization on accepted and rejected samples without pairs (arXiv 2402.01306)',
  settings: ktoSettings,
  defaultSamples: 4,
  create: createKto,
};
