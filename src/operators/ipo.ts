import { z } from 'zod';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule } from './kl-settings.js';
import { betaSetting, completeLogRatio } from './log-ratio-settings.js';
import { perToken, where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';
import { logRatios, pairMetrics, pairsOf } from './pairs.js';
import { completePerToken, perTokenSetting } from './per-token.js';

/**
 * Identity Preference Optimization (arXiv 2310.12036, equation 17) on the best accepted sample y_a and the worst rejected sample y_r
 * of each context. With the log-ratio r(y) = log π_θ(y|x) − log π_ref(y|x),
 *
 *   L = E_x ( r(y_a) − r(y_r) − 1/(2β) )²,
 *
 * so that a margin, once reached, is not widened: where labels are certain, DPO widens it without end. β is the paper's τ.
 * E_x is the mean over the contexts that have a pair; pairs.ts says which samples are chosen.
 *
 * With `perToken`, each log-ratio is divided by its sample's number of tokens, as in the authors' experiments and in TRL.
 */

const defaultBeta = 0.1;

export const ipoSettings = z.strictObject({
  beta: betaSetting(defaultBeta),
  perToken: perTokenSetting('log-ratio'),
  kl: addedKl,
});
/** The settings of IPO; each of them has a default. */
export type IpoSettings = z.input<typeof ipoSettings>;

/** Equation 17; see the head of this file. */
function ipoLoss(beta: number, isPerToken: boolean, batch: CheckedBatch): OperatorResult {
  const pairs = pairsOf(batch);
  const ratios = logRatios(batch);
  const margins = pairs.margin(
    isPerToken ? perToken(ratios, batch.length, batch.mask) : where0(ratios, batch.mask),
  );
  // β·(margin − 1/(2β)), divided twice by β afterwards.
  const missing = tf.sub(tf.mul(margins, beta), 0.5);
  const loss = pairs.mean(tf.square(tf.div(missing, beta)));
  return { loss, metrics: pairMetrics(pairs, loss, margins, batch) };
}

export const ipoDefinition = defineOperator({
  name: 'ipo',
  description:
    'Identity Preference Optimization: DPO with a margin that is reached and not exceeded (arXiv 2310.12036)',
  settings: ipoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ beta, kl, perToken: given }, klParts) => ({
    ...completeLogRatio({ beta, kl }, klParts, defaultBeta),
    perToken: completePerToken(given, klParts),
  }),
  create: ({ beta = defaultBeta, perToken: isPerToken = false, kl }) => ({
    ...addedKlRule(kl, { feedback: 'pairs', evaluation: false, length: isPerToken }, (batch) =>
      ipoLoss(beta, isPerToken, batch),
    ),
    independentContexts: true,
  }),
});

/**
 * IPO (arXiv 2310.12036, equation 17) with the given settings; without any, β = 0.1.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function ipo(settings?: IpoSettings): Operator {
  return ipoDefinition.create(settings);
}
