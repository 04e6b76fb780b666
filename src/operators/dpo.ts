import { z } from 'zod';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule } from './kl-settings.js';
import { betaSetting, completeLogRatio } from './log-ratio-settings.js';
import { where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';
import { logisticLoss, logRatios, pairMetrics, pairsOf } from './pairs.js';

/**
 * Direct Preference Optimization (arXiv 2305.18290, equation 7) on the best accepted sample y_a and the worst rejected sample
 * y_r of each context:
 *
 *   L = −E_x log σ( β·[(log π_θ(y_a|x) − log π_ref(y_a|x)) − (log π_θ(y_r|x) − log π_ref(y_r|x))] )
 *
 * E_x is the mean over the contexts that have such a pair; pairs.ts says which samples are chosen. `pairs: all` takes, in place of that one,
 * the mean over all pairs of an accepted and a rejected sample of the context.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part: by a weight, or as a bound, as for policies of actions. Such a
 * policy's reference follows it, so that what the loss may change in a moment, it could change again in the next.
 */

const defaultBeta = 1;

export const dpoSettings = z.strictObject({
  beta: betaSetting(defaultBeta),
  pairs: z
    .enum(['best-worst', 'all'])
    .default('best-worst')
    .describe(
      'The pairs of a context: its best accepted and worst rejected sample, or every accepted with every rejected sample',
    ),
  kl: addedKl,
});
/** The settings of DPO; each of them has a default. */
export type DpoSettings = z.input<typeof dpoSettings>;

/** Equation 7 over all pairs of each context; see the head of this file. */
function allPairsLoss(beta: number, batch: CheckedBatch): OperatorResult {
  const pairs = pairsOf(batch);
  const { accept, reject } = batch;
  const isAccepted = tf.cast(tf.greater(accept, 0), 'float32');
  const isRejected = tf.cast(tf.greater(reject, 0), 'float32');
  const ratios = where0(logRatios(batch), tf.add(accept, reject));
  // [N, N, B]: the first axis is that of the accepted sample.
  const isPair = tf.mul(tf.expandDims(isAccepted, 1), tf.expandDims(isRejected, 0));
  const logits = tf.mul(tf.sub(tf.expandDims(ratios, 1), tf.expandDims(ratios, 0)), beta);
  const counts = tf.maximum(tf.sum(isPair, [0, 1]), 1);
  const ofContexts = (values: tf.Tensor) => tf.div(tf.sum(tf.mul(isPair, values), [0, 1]), counts);
  const loss = pairs.mean(ofContexts(logisticLoss(logits)));
  return { loss, metrics: pairMetrics(pairs, loss, ofContexts(logits), batch) };
}

/** Equation 7; see the head of this file. */
function dpoLoss(beta: number, batch: CheckedBatch): OperatorResult {
  const pairs = pairsOf(batch);
  const logits = tf.mul(pairs.margin(logRatios(batch)), beta);
  const loss = pairs.mean(logisticLoss(logits));
  return { loss, metrics: pairMetrics(pairs, loss, logits, batch) };
}

export const dpoDefinition = defineOperator({
  name: 'dpo',
  description:
    'Direct Preference Optimization on the best and the worst sample of each context (arXiv 2305.18290)',
  settings: dpoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ pairs, ...settings }, klParts) => ({
    ...completeLogRatio(settings, klParts, defaultBeta),
    pairs,
  }),
  create({ beta = defaultBeta, pairs, kl }) {
    const lossOf = pairs === 'all' ? allPairsLoss : dpoLoss;
    const rule = addedKlRule(kl, { feedback: 'pairs', evaluation: false }, (batch) => lossOf(beta, batch));
    return { ...rule, independentContexts: true };
  },
});

/**
 * DPO (arXiv 2305.18290, equation 7) with the given settings; without any, β = 1.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function dpo(settings?: DpoSettings): Operator {
  return dpoDefinition.create(settings);
}
