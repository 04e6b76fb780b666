import { z } from 'zod';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule, withDefaultBounds } from './kl-settings.js';
import { perToken } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';
import { logisticLoss, pairMetrics, pairsOf } from './pairs.js';

/**
 * Simple Preference Optimization (arXiv 2405.14734, equation 6), without a reference, on the best accepted sample y_a and the worst
 * rejected sample y_r of each context, of |y| tokens:
 *
 *   L = −E_x log σ( β/|y_a| · log π_θ(y_a|x) − β/|y_r| · log π_θ(y_r|x) − γ ).
 *
 * E_x is the mean over the contexts that have a pair; pairs.ts says which samples are chosen. It is for sequences alone: the log-prob of a
 * single action does not divide by tokens. To this loss, `kl` can add KL(reference ‖ policy).
 */

export const simpoSettings = z.strictObject({
  beta: z
    .number()
    .positive()
    .default(2)
    .describe('β of the paper, which scales the mean log-probs of a token'),
  gamma: z
    .number()
    .min(0)
    .default(0.5)
    .describe('γ of the paper: the margin that β times the difference must exceed'),
  kl: addedKl,
});
/** The settings of SimPO; each of them has a default. */
export type SimpoSettings = z.input<typeof simpoSettings>;

/** Equation 6; see the head of this file. */
function simpoLoss(beta: number, gamma: number, batch: CheckedBatch): OperatorResult {
  const pairs = pairsOf(batch);
  const margins = tf.mul(pairs.margin(perToken(batch.logProb, batch.length, batch.mask)), beta);
  const loss = pairs.mean(logisticLoss(tf.sub(margins, gamma)));
  return { loss, metrics: pairMetrics(pairs, loss, margins, batch) };
}

export const simpoDefinition = defineOperator({
  name: 'simpo',
  description:
    'Simple Preference Optimization: a margin between mean log-probs of a token, without a reference (arXiv 2405.14734)',
  settings: simpoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ kl, ...numbers }, klParts) => ({ ...numbers, kl: withDefaultBounds(kl, klParts) }),
  create: ({ beta, gamma, kl }) =>
    addedKlRule(
      kl,
      {
        feedback: 'pairs',
        evaluation: false,
        referenceLogProb: false,
        length: true,
      },
      (batch) => simpoLoss(beta, gamma, batch),
    ),
});

/**
 * SimPO (arXiv 2405.14734, equation 6) with the given settings; without any, β = 2 and γ = 0.5.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function simpo(settings?: SimpoSettings): Operator {
  return simpoDefinition.create(settings);
}
