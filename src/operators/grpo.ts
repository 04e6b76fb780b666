import { z } from 'zod';
import type { Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { advantages, besselFactor } from './advantages.js';
import { defineOperator } from './define.js';
import { addedKl, addedKlRule, withDefaultBounds } from './kl-settings.js';
import { expectation, maskedMean, perToken, where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';
import { logRatios } from './pairs.js';
import { completePerToken, perTokenSetting } from './per-token.js';

/**
 * Group Relative Policy Optimization (arXiv 2402.03300, equations 3 and 4). With the ratio ρ = π_θ(y|x) / π_ref(y|x) and the advantage
 * A = (f − mean f) / (std f + 1e-4) over the samples of a context,
 *
 *   L = −E_x mean_n min( ρ·A, clip(ρ, 1 − ε, 1 + ε)·A ) + β · E_x mean_n [ 1/ρ − log(1/ρ) − 1 ].
 *
 * The bracket is the k3 estimate of the KL to the reference. The paper has three policies: the one that is trained, the one that
 * sampled, and the one of the KL. Here the reference is both of the latter.
 *
 * The batch holds log-probs of whole samples, so ρ is the ratio of a whole sample. With `perToken` it is its geometric mean over the
 * sample's tokens (GSPO, arXiv 2507.18071): at the reference its gradient is that of the paper's mean over tokens.
 *
 * log ρ is clamped to ±20, so that loss, gradient and metrics stay finite however far the policy has moved. A sample whose log-ratio is
 * beyond that has a gradient of 0.
 *
 * std is the square root of the variance without bias, as in TRL; where the mask holds the probabilities of all actions, it is that of
 * their distribution. A context with a single sample, or whose samples all have one
 * evaluation, has advantages of exactly 0. E_x is the mean over all B contexts.
 *
 * To this loss, `kl` can add KL(reference ‖ policy), part by part, which is exact where the policy gives an exact KL.
 */

export const grpoSettings = z.strictObject({
  epsilon: z.number().positive().max(1).default(0.2).describe('The ratio is clipped to 1 ± epsilon'),
  beta: z.number().min(0).default(0).describe('Weight of the KL that is estimated from the samples (k3)'),
  perToken: perTokenSetting('log-ratio'),
  kl: addedKl,
});
/** The settings of GRPO; each of them has a default. */
export type GrpoSettings = z.input<typeof grpoSettings>;

/** Keeps an advantage finite whose group has almost no spread. */
const smallestDeviation = 1e-4;

/** ρ and 1/ρ of a larger log-ratio would overflow. */
const largestLogRatio = 20;

/** Advantages in standard deviations of their group, [N, B]. */
function groupAdvantages(evaluation: Tensor2D, mask: Tensor2D): Tensor2D {
  const advantage = advantages(evaluation, mask);
  const variance = tf.mul(maskedMean(tf.square(advantage), mask), besselFactor(mask));
  return tf.div(advantage, tf.add(tf.sqrt(variance), smallestDeviation));
}

/** Equations 3 and 4; see the head of this file. */
function grpoLoss(
  { epsilon, beta, perToken: isPerToken = false }: z.output<typeof grpoSettings>,
  batch: CheckedBatch,
): OperatorResult {
  const { evaluation, mask, length } = batch;
  const whole: Tensor2D = isPerToken
    ? perToken(logRatios(batch), length, mask)
    : where0(logRatios(batch), mask);
  const logRatio: Tensor2D = tf.minimum(tf.maximum(whole, -largestLogRatio), largestLogRatio);
  const advantage = groupAdvantages(evaluation, mask);
  const ratio = tf.exp(logRatio);
  const clipped = tf.minimum(tf.maximum(ratio, 1 - epsilon), 1 + epsilon);
  const surrogate: Tensor2D = tf.minimum(tf.mul(ratio, advantage), tf.mul(clipped, advantage));
  const k3: Tensor2D = tf.sub(tf.add(tf.exp(tf.neg(logRatio)), logRatio), 1);
  const divergence = expectation(k3, mask);
  const loss: Scalar = tf.sub(tf.mul(divergence, beta), expectation(surrogate, mask));
  const isClipped = tf.cast<Tensor2D>(tf.less(surrogate, tf.mul(ratio, advantage)), 'float32');
  return {
    loss,
    metrics: {
      'policy/loss': loss,
      'policy/clipRate': expectation(isClipped, mask),
      'policy/kl-estimate': divergence,
    },
  };
}

export const grpoDefinition = defineOperator({
  name: 'grpo',
  description:
    'Group Relative Policy Optimization: advantages normalised in each context, and a clipped ratio (arXiv 2402.03300)',
  settings: grpoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete: ({ perToken: given, kl, ...numbers }, klParts) => ({
    ...numbers,
    perToken: completePerToken(given, klParts),
    kl: withDefaultBounds(kl, klParts),
  }),
  create: (settings) =>
    addedKlRule(
      settings.kl,
      {
        feedback: 'none',
        evaluation: true,
        length: settings.perToken === true,
        comparesSamples: true,
      },
      (batch) => grpoLoss(settings, batch),
    ),
});

/**
 * GRPO (arXiv 2402.03300) with the given settings; without any, ε = 0.2 and β = 0.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function grpo(settings?: GrpoSettings): Operator {
  return grpoDefinition.create(settings);
}
