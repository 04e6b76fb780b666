import { z } from 'zod';
import type { Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule } from './kl-settings.js';
import { betaSetting, completeLogRatio } from './log-ratio-settings.js';
import { perToken, where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';
import { logisticLoss, pairMetrics, pairsOf } from './pairs.js';

/**
 * Contrastive Preference Optimization (arXiv 2401.08417, equations 3 to 5): DPO with a uniform reference, and the likelihood of the
 * accepted sample in place of a KL, on the best accepted sample y_a and the worst rejected sample y_r of each context,
 *
 *   L = E_x [ −log σ( β·log π_θ(y_a|x) − β·log π_θ(y_r|x) ) − w·log π_θ(y_a|x) ].
 *
 * E_x is the mean over the contexts that have a pair; pairs.ts says which samples are chosen. In the paper w = 1. With `perToken`, the
 * last term, and it alone, is divided by the sample's number of tokens, as in the authors' code and in TRL.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part.
 */

const defaultBeta = 0.1;

export const cpoSettings = z.strictObject({
  beta: betaSetting(defaultBeta),
  likelihoodWeight: z
    .number()
    .min(0)
    .default(1)
    .describe('w, the weight of the likelihood of accepted samples'),
  perToken: z
    .boolean()
    .default(false)
    .describe(
      "Divide the likelihood of accepted samples by their number of tokens, as the authors' code does",
    ),
  kl: addedKl,
});
/** The settings of CPO; each of them has a default. */
export type CpoSettings = z.input<typeof cpoSettings>;

/** Equations 3 to 5; see the head of this file. */
function cpoLoss(
  { beta = defaultBeta, likelihoodWeight, perToken: isPerToken }: z.output<typeof cpoSettings>,
  batch: CheckedBatch,
): OperatorResult {
  const { logProb, length, mask } = batch;
  const pairs = pairsOf(batch);
  const logits = tf.mul(pairs.margin(logProb), beta);
  const raised: Tensor2D = isPerToken ? perToken(logProb, length, mask) : where0(logProb, mask);
  const likelihood = pairs.mean(pairs.accepted(raised));
  const loss: Scalar = tf.sub(pairs.mean(logisticLoss(logits)), tf.mul(likelihood, likelihoodWeight));
  return {
    loss,
    metrics: { ...pairMetrics(pairs, loss, logits, batch), 'policy/logProb/accepted': likelihood },
  };
}

export const cpoDefinition = defineOperator({
  name: 'cpo',
  description:
    'Contrastive Preference Optimization: DPO without a reference, with the likelihood of accepted samples (arXiv 2401.08417)',
  settings: cpoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ beta, kl, ...others }, klParts) => ({
    ...completeLogRatio({ beta, kl }, klParts, defaultBeta),
    ...others,
  }),
  create: (settings) =>
    addedKlRule(
      settings.kl,
      {
        feedback: 'pairs',
        evaluation: false,
        referenceLogProb: false,
        length: settings.perToken,
      },
      (batch) => cpoLoss(settings, batch),
    ),
});

/**
 * CPO (arXiv 2401.08417, equations 3 to 5) with the given settings; without any, β = 0.1 and w = 1.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function cpo(settings?: CpoSettings): Operator {
  return cpoDefinition.create(settings);
}
