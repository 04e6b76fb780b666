import { z } from 'zod';
import type { Scalar, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { advantages } from './advantages.js';
import { defineOperator } from './define.js';
import { klBounds } from './kl-settings.js';
import { dualValue } from './lagrange.js';
import { likelihoodParts, where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorRule } from './operator.js';
import { type EStep, eStepOf, softmaxAndLogSum, temperedLogits, weightingRule } from './temperature.js';

/**
 * V-MPO (arXiv 1909.12238, equations 3 to 5), as rlax (`vmpo_loss`) computes it. With the advantages A = f(x, y) − V(x), of which the
 * best half of the whole batch, D, is kept, its loss is the sum of
 *
 *   the E-step's dual        η · (ε + log mean_D exp(A/η))                   for the temperature η,
 *   the M-step               −Σ_D ψ · log π_θ(y|x),  ψ = exp(A/η) / Σ_D exp(A/η),   for the policy,
 *   the KL constraints       see `klConstraints`, one bound for each part and dimension.
 *
 * V(x) is the mean evaluation of the context's samples, where the paper trains a value function. MPO weighs the samples of each context
 * among themselves; V-MPO weighs all samples of the batch together, so that contexts in which something is to be gained count more. All
 * samples that are equal to the worst of the best half are kept.
 *
 * For a policy whose KL divides (a Gaussian's mean and covariance), the M-step is taken once for each part, with the other parts held at
 * the reference, as MPO's (arXiv 1812.02256) is. rlax takes it once for the whole policy. The gradient is the same where the policy is the
 * reference; away from it, here a small covariance does not enlarge the steps of the mean.
 */

export const vMpoSettings = z.strictObject({
  epsilon: z
    .number()
    .positive()
    .default(0.1)
    .describe('Bound on KL(weighted samples ‖ kept samples) in the E-step, nats'),
  initialTemperature: z.number().positive().default(1).describe('Initial value of the temperature'),
  topFraction: z.number().positive().max(1).default(0.5).describe('The share of the samples that is kept'),
  kl: klBounds,
});
/** The settings of V-MPO; each of them has a default. */
export type VMpoSettings = z.input<typeof vMpoSettings>;

/**
 * 1 for the samples that are kept, [N, B]: those not below the one of rank `fraction` · K, of K present samples, but at least one.
 */
function bestOf(advantage: Tensor2D, mask: Tensor2D, fraction: number): Tensor2D {
  const isPresent = tf.greater(mask, 0);
  const values: Tensor2D = tf.where(isPresent, advantage, tf.fill(mask.shape, -3e38));
  const size = mask.shape[0] * mask.shape[1];
  const sorted = tf.topk(tf.reshape(values, [size]), size).values;
  const present = tf.sum(tf.cast(isPresent, 'float32'));
  // A product such as 0.3 · 10 may come out just below the whole number that it is.
  const kept = tf.maximum(tf.floor(tf.add(tf.mul(present, fraction), 1e-3)), 1);
  const isLast = tf.cast(tf.equal(tf.range(0, size, 1, 'float32'), tf.sub(kept, 1)), 'float32');
  const worst = tf.sum(tf.mul(sorted, isLast));
  const isKept: Tensor2D = tf.logicalAnd(isPresent, tf.greaterEqual(values, worst));
  return tf.cast(isKept, 'float32');
}

/**
 * The E-step (rlax `vmpo_compute_weights_and_temperature_loss`), whose weights add up to 1 over the batch.
 * @param storedTemperature [1], as `storedDual` gives it
 */
function eStep(
  { evaluation, mask }: CheckedBatch,
  storedTemperature: Tensor,
  epsilon: number,
  fraction: number,
): EStep {
  const temperature = dualValue(storedTemperature);
  const advantage = advantages(evaluation, mask);
  const kept = bestOf(advantage, mask, fraction);
  const isKept: Tensor2D = tf.greater(kept, 0);
  const logits = temperedLogits(advantage, mask, isKept, temperature);
  const { softmax, logSum } = softmaxAndLogSum(logits);
  const weights: Tensor2D = tf.mul(softmax, kept);
  const count = tf.sum(tf.mul(kept, where0(mask, kept)));
  const logMean: Scalar = tf.sub(
    tf.squeeze<Scalar>(logSum),
    tf.log(tf.where(tf.greater(count, 0), count, tf.onesLike(count))),
  );
  const expected = tf.where(tf.greater(count, 0), logMean, tf.zerosLike(logMean));
  return eStepOf(weights, temperature, expected, epsilon);
}

/** The weighted negative log-likelihood, summed over the parts of a policy that divides. */
function mStep(batch: CheckedBatch, weights: Tensor2D): Scalar {
  const losses = likelihoodParts(batch).map((part) =>
    tf.neg<Scalar>(tf.sum(tf.mul(weights, where0(part, batch.mask)))),
  );
  return tf.addN(losses);
}

export const vMpoDefinition = defineOperator({
  name: 'v-mpo',
  description:
    'V-MPO: the better half of the batch, weighted by exp(advantage/temperature), with KL constraints (arXiv 1909.12238)',
  settings: vMpoSettings,
  create({ epsilon, initialTemperature, topFraction, kl }): OperatorRule {
    return weightingRule(kl, { logTemperature: initialTemperature }, (batch, state) => {
      const { weights, temperatureLoss, temperature } = eStep(
        batch,
        state.logTemperature,
        epsilon,
        topFraction,
      );
      return {
        mStepLoss: mStep(batch, weights),
        temperatureLoss,
        temperatures: { 'policy/temperature': temperature },
      };
    });
  },
});

/**
 * V-MPO (arXiv 1909.12238) with the given settings.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function vMpo(settings?: VMpoSettings): Operator {
  return vMpoDefinition.create(settings);
}
