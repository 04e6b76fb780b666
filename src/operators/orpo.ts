import { z } from 'zod';
import type { Scalar, Tensor1D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule, withDefaultBounds } from './kl-settings.js';
import { perToken } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';
import { logisticLoss, pairMetrics, pairsOf } from './pairs.js';

/**
 * Odds Ratio Preference Optimization (arXiv 2403.07691, equations 6 and 7), without a reference, on the best accepted sample y_a and the
 * worst rejected sample y_r of each context. With the geometric mean of the tokens' probabilities, log P(y|x) = log π_θ(y|x) / |y|, and
 * odds(y) = P / (1 − P),
 *
 *   L = E_x [ −log P(y_a|x) − λ · log σ( log odds(y_a) − log odds(y_r) ) ].
 *
 * E_x is the mean over the contexts that have a pair; pairs.ts says which samples are chosen. It is for sequences alone: the density of a
 * continuous action may exceed 1 and has no odds. To this loss, `kl` can add KL(reference ‖ policy).
 */

export const orpoSettings = z.strictObject({
  oddsWeight: z
    .number()
    .min(0)
    .default(0.1)
    .describe('λ of the paper, the weight of the odds ratio against the likelihood'),
  kl: addedKl,
});
/** The settings of ORPO; each of them has a default. */
export type OrpoSettings = z.input<typeof orpoSettings>;

/** The nearest to 0 that log P may come: at P = 1 the odds are infinite. */
const largestLogProb = -1e-6;

/** log(P / (1 − P)) for log P [B] below 0. */
function logOdds(logProb: Tensor1D): Tensor1D {
  const below = tf.minimum(logProb, largestLogProb);
  // 1 − exp(x) = −2t / (1 − t) with t = tanh(x/2), which keeps its digits near x = 0.
  const t = tf.tanh(tf.div(below, 2));
  return tf.sub(below, tf.log(tf.div(tf.mul(t, -2), tf.sub(1, t))));
}

/** Equations 6 and 7; see the head of this file. */
function orpoLoss(oddsWeight: number, batch: CheckedBatch): OperatorResult {
  const pairs = pairsOf(batch);
  const mean = perToken(batch.logProb, batch.length, batch.mask);
  const accepted = pairs.accepted(mean);
  const margins = tf.sub(logOdds(accepted), logOdds(pairs.rejected(mean)));
  const likelihood = pairs.mean(accepted);
  const odds = pairs.mean(logisticLoss(margins));
  const loss: Scalar = tf.sub(tf.mul(odds, oddsWeight), likelihood);
  return {
    loss,
    metrics: { ...pairMetrics(pairs, loss, margins, batch), 'policy/logProb/accepted': likelihood },
  };
}

export const orpoDefinition = defineOperator({
  name: 'orpo',
  description:
    'Odds Ratio Preference Optimization: maximum likelihood and an odds ratio in one, without a reference (arXiv 2403.07691)',
  settings: orpoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ kl, ...numbers }, klParts) => ({ ...numbers, kl: withDefaultBounds(kl, klParts) }),
  create: ({ oddsWeight, kl }) =>
    addedKlRule(
      kl,
      {
        feedback: 'pairs',
        evaluation: false,
        referenceLogProb: false,
        length: true,
      },
      (batch) => orpoLoss(oddsWeight, batch),
    ),
});

/**
 * ORPO (arXiv 2403.07691, equations 6 and 7) with the given settings; without any, λ = 0.1.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function orpo(settings?: OrpoSettings): Operator {
  return orpoDefinition.create(settings);
}
