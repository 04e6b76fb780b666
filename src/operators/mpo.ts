import { z } from 'zod';
import type { Scalar, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { klBounds } from './kl-settings.js';
import { dualValue } from './lagrange.js';
import { likelihoodParts, where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorRule } from './operator.js';
import { ofContexts, problemSums } from './problems.js';
import {
  type EStep,
  eStepOf,
  softmaxAndLogSum,
  temperedLogits,
  type WeightedSamples,
  weightingRule,
} from './temperature.js';

/**
 * Maximum a Posteriori Policy Optimisation (arXiv 1806.06920; decoupled constraints: arXiv 1812.02256), as rlax
 * (`mpo_loss`) and Acme compute it. Its loss is the sum of
 *
 *   the E-step's dual        η · (ε + E_x log mean_n exp(f(x, y_n)/η))                  for the temperature η,
 *   the M-step               −E_x Σ_n softmax_n(f(x, y_n)/η) · log π_θ(y_n|x)           for the policy,
 *   the KL constraints       see `klConstraints`, one bound for each part and dimension.
 *
 * For a policy whose KL divides (a Gaussian's mean and covariance), the M-step is taken once for each part, with the other
 * parts held at the reference. If actions are bounded, the weights of a second E-step on −(distance from the bounds) are added to
 * those of the first, as in Acme (`actionPenalty`).
 *
 * E_x is the mean over all B contexts, except in the E-step's dual: there it is the mean over contexts that have samples.
 */

export const mpoSettings = z.strictObject({
  epsilon: z
    .number()
    .positive()
    .default(0.1)
    .describe('Bound on KL(weighted samples ‖ reference) in the E-step, nats'),
  initialTemperature: z.number().positive().default(10).describe('Initial value of the temperature'),
  kl: klBounds,
  actionPenalty: z
    .strictObject({
      epsilon: z.number().positive().default(1e-3).describe('Bound on KL(penalty weights ‖ reference), nats'),
      initialTemperature: z.number().positive().default(10).describe('Initial value of its temperature'),
    })
    .nullable()
    .prefault({})
    .describe(
      'A second E-step that gives less weight to samples outside the action bounds; null turns it off',
    ),
});
/** The settings of MPO; each of them has a default. */
export type MpoSettings = z.input<typeof mpoSettings>;

/**
 * The E-step for `values` [N, B] (rlax `mpo_compute_weights_and_temperature_loss`), whose weights add up to 1 in each context that has
 * samples.
 *
 * @param storedTemperature of each problem, [P], as `storedDual` gives it
 * @param epsilon the bound on the KL of the weights, nats
 */
function eStep(
  values: Tensor2D,
  { mask, problems }: Pick<CheckedBatch, 'mask' | 'problems'>,
  storedTemperature: Tensor,
  epsilon: number,
): EStep {
  const temperature = dualValue(storedTemperature);
  const isSample: Tensor2D = tf.greater(mask, 0);
  const ofEach = ofContexts(temperature, problems, mask.shape[1]);
  const logits = temperedLogits(where0(values, mask), mask, isSample, ofEach);
  const { softmax, logSum } = softmaxAndLogSum(logits, 0);
  const weights = where0(softmax, mask);
  const count: Tensor2D = tf.sum(mask, 0, true);
  const isPresent = tf.greater(count, 0);
  const logMean = tf.sub(logSum, tf.log(tf.where(isPresent, count, tf.onesLike(count))));
  const contexts = tf.maximum(problemSums(tf.cast(isPresent, 'float32'), problems), 1);
  const sums = problemSums(tf.where(isPresent, logMean, tf.zerosLike(logMean)), problems);
  return eStepOf(weights, temperature, tf.div(sums, contexts), epsilon, problems);
}

/** The weighted negative log-likelihood, summed over the parts of a policy that divides. */
function mStep(batch: CheckedBatch, weights: Tensor2D): Scalar {
  const losses = likelihoodParts(batch).map((part) =>
    tf.neg<Scalar>(tf.mean(tf.sum(tf.mul(weights, where0(part, batch.mask)), 0))),
  );
  return tf.addN(losses);
}

export const mpoDefinition = defineOperator({
  name: 'mpo',
  description:
    'Maximum a Posteriori Policy Optimisation with a learned temperature and decoupled KL constraints (arXiv 1806.06920, 1812.02256)',
  settings: mpoSettings,
  defaultSamples: 20,
  create({ epsilon, initialTemperature, kl, actionPenalty }): OperatorRule {
    const temperatures = {
      logTemperature: initialTemperature,
      ...(actionPenalty === null ? {} : { logPenaltyTemperature: actionPenalty.initialTemperature }),
    };
    const rule = weightingRule(kl, temperatures, (batch, state): WeightedSamples => {
      const { evaluation, boundViolation } = batch;
      const own = eStep(evaluation, batch, state.logTemperature, epsilon);
      if (actionPenalty === null || boundViolation === undefined) {
        return {
          mStepLoss: mStep(batch, own.weights),
          temperatureLoss: own.temperatureLoss,
          temperatures: { 'policy/temperature': own.temperature },
        };
      }
      const cost: Tensor2D = tf.neg(boundViolation);
      const penalty = eStep(cost, batch, state.logPenaltyTemperature, actionPenalty.epsilon);
      const weights: Tensor2D = tf.add(own.weights, penalty.weights);
      return {
        mStepLoss: mStep(batch, weights),
        temperatureLoss: tf.add(own.temperatureLoss, penalty.temperatureLoss),
        temperatures: {
          'policy/temperature': own.temperature,
          'policy/penaltyTemperature': penalty.temperature,
        },
      };
    });
    return { ...rule, independentContexts: true };
  },
});

/**
 * MPO (arXiv 1806.06920, 1812.02256) with the given settings.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function mpo(settings?: MpoSettings): Operator {
  return mpoDefinition.create(settings);
}
