import { z } from 'zod';
import type { NamedTensors, Scalar } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { boundedKl, dualValue, projectDual, storedDual } from './lagrange.js';
import { keep, overall, shareOf, weightedMean } from './masking.js';
import type {
  Operator,
  OperatorBatch,
  OperatorContext,
  OperatorDefinition,
  OperatorNeeds,
} from './operator.js';

/**
 * Preference-based Maximum a Posteriori Policy Optimization ("Learning from negative feedback, or positive feedback or
 * both", arXiv 2410.04166, equation 10), written as a loss:
 *
 *   L = −α · E_x E_{y∼D_a(x)} log π_θ(y|x) + (1−α) · E_x E_{y∼D_r(x)} log π_θ(y|x) + β · E_x KL(π_ref(·|x) ‖ π_θ(·|x))
 *
 * E_x is the mean over all B contexts, those without feedback included: a context whose accepted (or rejected) side is
 * empty adds 0 for that side, to the loss and to the gradient, and is not made up for by the others. E over D_a(x) is the
 * mean over the context's samples weighted by their accept weights.
 */

const weightOrBound = z.union([
  z.number().min(0),
  z.strictObject({
    epsilon: z
      .number()
      .positive()
      .describe('Bound on the KL of each dimension, nats; its weight is adapted by a dual variable'),
    initialWeight: z.number().positive().default(1).describe('Where the adapted weight starts'),
  }),
]);

export const pmpoSettings = z.strictObject({
  alpha: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe(
      'Weight of accepted against rejected samples: 1 learns from accepted ones alone, 0 from rejected ones alone',
    ),
  beta: z
    .number()
    .min(0)
    .default(1)
    .describe('Weight of KL(reference ‖ policy), for every part that `kl` does not name'),
  kl: z
    .strictObject({
      mean: weightOrBound.optional(),
      covariance: weightOrBound.optional(),
      categorical: weightOrBound.optional(),
      sequence: weightOrBound.optional(),
    })
    .prefault({})
    .describe(
      'By part, mean and covariance (Gaussian head), categorical (categorical head), sequence (language): a weight in place of beta, or {epsilon}, a bound',
    ),
});
export type PmpoSettings = z.infer<typeof pmpoSettings>;

const stateName = (part: string) => `kl/${part}`;

function needs(alpha: number): OperatorNeeds {
  const feedback = alpha === 1 ? 'accepts' : alpha === 0 ? 'rejects' : 'either';
  return { feedback, evaluation: false, exactKl: false };
}

/** PMPO with the given settings. See the head of this file for the loss. */
export function createPmpo({ alpha, beta, kl }: PmpoSettings): Operator {
  const klSettings: Readonly<Record<string, z.infer<typeof weightOrBound> | undefined>> = kl;
  function klTerms(batch: OperatorBatch, state: NamedTensors) {
    const metrics: Record<string, Scalar> = {};
    let penalty = tf.scalar(0);
    let total = tf.scalar(0);
    for (const [part, values] of Object.entries(batch.kl().parts)) {
      const setting = klSettings[part] ?? beta;
      const whole = tf.mean(tf.sum(values, -1)) as Scalar;
      metrics[`policy/kl/${part}`] = whole;
      total = tf.add(total, whole) as Scalar;
      if (typeof setting === 'number') {
        penalty = tf.add(penalty, tf.mul(whole, setting)) as Scalar;
      } else {
        const stored = state[stateName(part)];
        const bounded = boundedKl(values, stored, setting.epsilon);
        penalty = tf.add(penalty, tf.add(bounded.penalty, bounded.dualLoss)) as Scalar;
        metrics[`policy/kl-weight/${part}`] = overall(dualValue(stored));
      }
    }
    metrics['policy/kl'] = total;
    return { penalty, metrics };
  }

  return {
    needs: needs(alpha),
    initialState: ({ klParts }) =>
      Object.fromEntries(
        Object.entries(klParts).flatMap(([part, size]) => {
          const setting = klSettings[part];
          return typeof setting === 'object'
            ? [[stateName(part), storedDual(setting.initialWeight, size)]]
            : [];
        }),
      ),
    projectState: (state) =>
      Object.fromEntries(Object.entries(state).map(([name, stored]) => [name, projectDual(stored)])),
    loss(batch, state) {
      const accept = tf.mul(keep(batch.accept, batch.mask), batch.mask) as typeof batch.accept;
      const reject = tf.mul(keep(batch.reject, batch.mask), batch.mask) as typeof batch.reject;
      const accepted = overall(weightedMean(batch.logProb, accept));
      const rejected = overall(weightedMean(batch.logProb, reject));
      const { penalty, metrics } = klTerms(batch, state);
      const likelihood = tf.sub(tf.mul(rejected, 1 - alpha), tf.mul(accepted, alpha));
      const loss = tf.add(likelihood, penalty) as Scalar;
      return {
        loss,
        metrics: {
          'policy/loss': loss,
          'policy/logProb/accepted': accepted,
          'policy/logProb/rejected': rejected,
          'policy/acceptRate': shareOf(accept, batch.mask),
          'policy/rejectRate': shareOf(reject, batch.mask),
          ...metrics,
        },
      };
    },
    warnings: (context) => weightWarnings(alpha, smallestWeight(beta, kl), context),
  };
}

/** The smallest fixed weight of any KL part: the one that bounds the objective. */
function smallestWeight(beta: number, kl: PmpoSettings['kl']): number {
  const fixed = Object.values(kl).filter((setting) => typeof setting === 'number');
  return Math.min(beta, ...fixed);
}

/**
 * What α, β and the share ρ of rejected samples mean for the objective. Up to a constant, −KL(π_ref ‖ π_θ) is the expected
 * log π_θ under π_ref, of which rejected samples make up ρ: the weights on log-likelihoods add up to β + 2α − 1, and that
 * on rejected samples is β·ρ − (1 − α).
 */
function weightWarnings(alpha: number, beta: number, { rejectShare }: OperatorContext): string[] {
  const total = beta + 2 * alpha - 1;
  if (total < 0) {
    return [
      `operator.beta = ${beta} with operator.alpha = ${alpha}: the weights on log-likelihoods add up to ${round(total)} < 0, so the objective is unbounded and the policy will diverge. Use operator.beta ≥ ${round(1 - 2 * alpha)}`,
    ];
  }
  if (rejectShare === undefined || rejectShare === 0) return [];
  const onRejects = beta * rejectShare - (1 - alpha);
  if (onRejects >= 0) return [];
  return [
    `operator.beta = ${beta} with operator.alpha = ${alpha} and a share of ${round(rejectShare)} rejected: the weight on rejected samples is ${round(onRejects)} < 0, so the objective is bounded only while the policy stays close to its reference. operator.beta ≥ ${round((1 - alpha) / rejectShare)} is safe`,
  ];
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}

export const pmpoDefinition: OperatorDefinition<PmpoSettings> = {
  name: 'pmpo',
  description:
    'Preference-based MPO: accepted samples up, rejected samples down, held to the reference by a KL (arXiv 2410.04166)',
  settings: pmpoSettings,
  defaultSamples: 4,
  create: createPmpo,
  klParts: ({ kl }) => Object.keys(kl),
};
