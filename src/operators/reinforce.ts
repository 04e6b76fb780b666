import { z } from 'zod';
import * as tf from '../engine/tf.js';
import { advantages, besselFactor, weightedLikelihoodLoss } from './advantages.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule, withDefaultBounds } from './kl-settings.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';

/**
 * REINFORCE with the leave-one-out baseline (RLOO, arXiv 2402.14740, equation 7): each sample of a context is compared with the mean
 * evaluation of the context's other samples,
 *
 *   L = −E_x mean_n [ f(x, y_n) − mean_{m≠n} f(x, y_m) ] · log π_θ(y_n|x).
 *
 * The bracket is K/(K − 1) times the advantage over the mean of all K samples, which is how it is computed here. Where the mask holds
 * the probabilities of all actions, the means are weighted by them, and the factor is 1: at the reference the gradient is then that of
 * the expected evaluation exactly. The gradient is that of the policy's expected evaluation as long as
 * the samples are the policy's own: the further the policy has moved from its reference, the less is it so, and the loss has no lower
 * bound. So `kl` can add KL(reference ‖ policy), part by part.
 *
 * A context with a single sample, or whose samples all have one evaluation, adds exactly 0. E_x is the mean over all B contexts.
 */

export const reinforceSettings = z.strictObject({ kl: addedKl });
/** The settings of REINFORCE; each of them has a default. */
export type ReinforceSettings = z.input<typeof reinforceSettings>;

/** Equation 7; see the head of this file. */
function reinforceLoss({ logProb, evaluation, mask }: CheckedBatch): OperatorResult {
  const advantage = tf.mul<tf.Tensor2D>(advantages(evaluation, mask), besselFactor(mask));
  const loss = weightedLikelihoodLoss(logProb, advantage, mask);
  return { loss, metrics: { 'policy/loss': loss } };
}

export const reinforceDefinition = defineOperator({
  name: 'reinforce',
  description: 'REINFORCE with the leave-one-out baseline of each context (RLOO, arXiv 2402.14740)',
  settings: reinforceSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ kl }, klParts) => ({ kl: withDefaultBounds(kl, klParts) }),
  create: ({ kl }) =>
    addedKlRule(
      kl,
      {
        feedback: 'none',
        evaluation: true,
        referenceLogProb: false,
        comparesSamples: true,
      },
      reinforceLoss,
    ),
});

/**
 * REINFORCE with the leave-one-out baseline (arXiv 2402.14740).
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function reinforce(settings?: ReinforceSettings): Operator {
  return reinforceDefinition.create(settings);
}
