import { z } from 'zod';
import { advantages, exponentialWeights, weightedLikelihood } from './advantages.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule, withDefaultBounds } from './kl-settings.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';

/**
 * Advantage-Weighted Regression (arXiv 1910.00177, algorithm 1): maximum likelihood of all samples, weighted by their advantages,
 *
 *   L = −E_x mean_n min( exp(A(x, y_n)/β), w_max ) · log π_θ(y_n|x).
 *
 * A = f(x, y) − V(x), where V(x) is the batch's baseline, or else the mean evaluation of the context's samples. All weights are
 * positive, so the loss holds the policy to its samples without a KL. Without a baseline, a single sample of a context has the weight 1.
 * E_x is the mean over all B contexts.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part.
 */

export const awrSettings = z.strictObject({
  beta: z
    .number()
    .positive()
    .default(1)
    .describe(
      'Temperature, in units of the evaluation: the larger it is, the more alike are the weights, and the closer the policy stays to its reference',
    ),
  maxWeight: z.number().positive().default(20).describe('The largest weight'),
  kl: addedKl,
});
/** The settings of AWR; each of them has a default. */
export type AwrSettings = z.input<typeof awrSettings>;

function awrLoss(beta: number, maxWeight: number, batch: CheckedBatch): OperatorResult {
  const advantage = advantages(batch.evaluation, batch.mask, batch.baseline);
  return weightedLikelihood(batch, exponentialWeights(advantage, beta, maxWeight));
}

export const awrDefinition = defineOperator({
  name: 'awr',
  description:
    'Advantage-Weighted Regression: maximum likelihood of all samples, weighted by exp(advantage/β) (arXiv 1910.00177)',
  settings: awrSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ kl, ...numbers }, klParts) => ({ ...numbers, kl: withDefaultBounds(kl, klParts) }),
  create: ({ beta, maxWeight, kl }) =>
    addedKlRule(
      kl,
      {
        feedback: 'none',
        evaluation: true,
        referenceLogProb: false,
        comparesSamples: true,
        readsBaseline: true,
        imitatesUnranked: true,
      },
      (batch) => awrLoss(beta, maxWeight, batch),
    ),
});

/**
 * AWR (arXiv 1910.00177) with the given settings; without any, β = 1 and weights up to 20.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function awr(settings?: AwrSettings): Operator {
  return awrDefinition.create(settings);
}
