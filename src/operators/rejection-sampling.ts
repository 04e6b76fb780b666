import { z } from 'zod';
import type { Scalar } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule, withDefaultBounds } from './kl-settings.js';
import { rate } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';
import { best, select } from './pairs.js';

/**
 * Rejection sampling, or best of N (RAFT, arXiv 2304.06767; Llama 2, arXiv 2307.09288, section 3.2.3): maximum likelihood of the best
 * accepted sample y* of each context,
 *
 *   L = −E_x log π_θ(y*|x).
 *
 * The best is the one of greatest evaluation, the first of equals. All accepted samples alike are what behavior-cloning learns from. A
 * context without an accepted sample adds exactly 0; E_x is the mean over all B contexts.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part.
 */

export const rejectionSamplingSettings = z.strictObject({ kl: addedKl });
/** The settings of rejection sampling; each of them has a default. */
export type RejectionSamplingSettings = z.input<typeof rejectionSamplingSettings>;

function rejectionSamplingLoss({ logProb, evaluation, accept, mask }: CheckedBatch): OperatorResult {
  const loss: Scalar = tf.neg(tf.mean(select(logProb, best(evaluation, accept))));
  return { loss, metrics: { 'policy/loss': loss, 'policy/acceptRate': rate(accept, mask) } };
}

export const rejectionSamplingDefinition = defineOperator({
  name: 'rejection-sampling',
  description:
    'Best of N: maximum likelihood of the best accepted sample of each context (arXiv 2304.06767, 2307.09288)',
  settings: rejectionSamplingSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ kl }, klParts) => ({ kl: withDefaultBounds(kl, klParts) }),
  create: ({ kl }) =>
    addedKlRule(
      kl,
      {
        feedback: 'accepts',
        evaluation: true,
        referenceLogProb: false,
      },
      rejectionSamplingLoss,
    ),
});

/**
 * Maximum likelihood of the best accepted sample of each context.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function rejectionSampling(settings?: RejectionSamplingSettings): Operator {
  return rejectionSamplingDefinition.create(settings);
}
