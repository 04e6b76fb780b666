import { z } from 'zod';
import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { advantages, exponentialWeights, weightedLikelihood } from './advantages.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule, withDefaultBounds } from './kl-settings.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';

/**
 * Critic Regularized Regression (arXiv 2006.15134, equations 1 to 4): maximum likelihood of those samples that a filter lets pass,
 *
 *   L = −E_x mean_n filter(A(x, y_n)) · log π_θ(y_n|x),    filter(A) = 1[A > 0]               (binary)
 *                                                        or  min( exp(A/β), w_max )          (exponential).
 *
 * A = f(x, y) − V(x), where V(x) is the batch's baseline, or else the mean evaluation of the context's samples: the paper's advantage by
 * the mean, whose samples of the policy are the batch's samples here. A sample whose evaluation equals V(x) has A = 0 and does not pass
 * the binary filter; so do all samples of equal evaluation without a baseline. With the exponential filter the loss is that of AWR. E_x is
 * the mean over all B contexts.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part.
 */

export const crrSettings = z.strictObject({
  filter: z
    .enum(['binary', 'exponential'])
    .default('binary')
    .describe(
      'binary: samples better than the mean, all alike; exponential: all samples, by exp(advantage/beta)',
    ),
  beta: z
    .number()
    .positive()
    .default(1)
    .describe('Temperature of the exponential filter, in units of the evaluation'),
  maxWeight: z.number().positive().default(20).describe('The largest weight of the exponential filter'),
  kl: addedKl,
});
/** The settings of CRR; each of them has a default. */
export type CrrSettings = z.input<typeof crrSettings>;

/** Equation 1; see the head of this file. */
function crrLoss(
  { filter, beta, maxWeight }: z.output<typeof crrSettings>,
  batch: CheckedBatch,
): OperatorResult {
  const advantage = advantages(batch.evaluation, batch.mask, batch.baseline);
  const weights: Tensor2D =
    filter === 'binary'
      ? tf.cast(tf.greater(advantage, 0), 'float32')
      : exponentialWeights(advantage, beta, maxWeight);
  return weightedLikelihood(batch, weights);
}

export const crrDefinition = defineOperator({
  name: 'crr',
  description:
    'Critic Regularized Regression: maximum likelihood of the samples with a positive advantage, or weighted by its exponential (arXiv 2006.15134)',
  settings: crrSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ kl, ...others }, klParts) => ({ ...others, kl: withDefaultBounds(kl, klParts) }),
  create: (settings) =>
    addedKlRule(
      settings.kl,
      {
        feedback: 'none',
        evaluation: true,
        referenceLogProb: false,
        comparesSamples: true,
        readsBaseline: true,
        imitatesUnranked: settings.filter === 'exponential',
      },
      (batch) => crrLoss(settings, batch),
    ),
});

/**
 * CRR (arXiv 2006.15134) with the given settings; without any, with the binary filter.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function crr(settings?: CrrSettings): Operator {
  return crrDefinition.create(settings);
}
