import { z } from 'zod';
import type { Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { advantages } from './advantages.js';
import { defineOperator } from './define.js';
import { constrainedRule, klSettings, weightsOf, withDefaultBounds } from './kl-settings.js';
import type { KlWeight } from './lagrange.js';
import { maskedMean, perToken, rate, where0 } from './masking.js';
import type { CheckedBatch, Operator, OperatorContext, OperatorResult, OperatorRule } from './operator.js';

/**
 * Preference-based Maximum a Posteriori Policy Optimization: "Learning from negative feedback, or positive feedback or
 * both", arXiv 2410.04166, equation 10, as a loss:
 *
 *   L = −α · E_x E_{y∼D_a(x)} log π_θ(y|x) + (1−α) · E_x E_{y∼D_r(x)} log π_θ(y|x) + β · E_x KL(π_ref(·|x) ‖ π_θ(·|x))
 *
 * D_a(x) and D_r(x) are the accepted and the rejected samples of a context, weighted by their accept and reject weights.
 * E_x is the mean over all B contexts. A context without accepted (or rejected) samples adds 0 for that side, to the loss and to
 * its gradient; the weight of the other contexts does not grow in return.
 *
 * Settings give its variants:
 * - `normalise: batch` takes the means over all accepted and over all rejected samples of the batch, in place of E_x E_y. The two sides
 *   then have the weights α and 1 − α whatever their sizes. By context, a side has as much less as there are contexts without it: with
 *   contexts of one sample, 5 % of them rejected, and α = ½, the sides have 0.475 and 0.025.
 * - `advantageScale: s` multiplies the weight of each sample by |tanh(A/s)|, with the advantage A = f(x, y) − V(x) over the mean of the
 *   context's samples, and still divides by the sum of the unscaled weights of its side: a sample that is hardly better or worse than
 *   the mean counts little, and so does a context whose samples are all nearly equal.
 * - `perToken` divides each log-prob by the sample's number of tokens.
 * - `reverseKl` takes KL(π_θ ‖ π_ref) in place of KL(π_ref ‖ π_θ), as Dreamer 4 does (arXiv 2509.24527, equation 11). It is finite where
 *   the policy gives a rejected sample no probability, so no weight of it bounds the rejected side of the loss. A categorical
 *   policy of the package with a uniform share adds a small share of the other direction (`Distribution.reverseKl`).
 */

export const pmpoSettings = z.strictObject({
  alpha: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe(
      'Weight of accepted against rejected samples: 1 learns from accepted samples alone, 0 from rejected samples alone',
    ),
  beta: z
    .number()
    .min(0)
    .optional()
    .describe(
      'Weight of KL(reference ‖ policy), for every part that `kl` does not name; default: 1 for a language model, 1.25 · (1 − alpha) if that is more; the parts of a policy of actions are bounded',
    ),
  kl: klSettings('a weight that replaces beta, or a bound, {epsilon}'),
  reverseKl: z
    .boolean()
    .default(false)
    .describe('Take KL(policy ‖ reference), as Dreamer 4 does, in place of KL(reference ‖ policy)'),
  normalise: z
    .enum(['context', 'batch'])
    .default('context')
    .describe(
      'Take the means of accepted and of rejected samples in each context and then over contexts, or over the batch at once',
    ),
  perToken: z.boolean().default(false).describe("Divide each log-prob by the sample's number of tokens"),
  advantageScale: z
    .number()
    .positive()
    .optional()
    .describe(
      'Multiply the term of each sample by |tanh(advantage / advantageScale)|, in units of the evaluation, so that samples that hardly differ count little; default: weights by the feedback alone',
    ),
});
/**
 * The weight of a part of the KL for which the settings give neither a weight nor a bound: 1, or as much as rejected samples alone
 * need, a quarter above the boundary 1 − α.
 */
const defaultBeta = (alpha: number) => Math.max(1, 1.25 * (1 - alpha));

/** The settings of PMPO; each of them has a default. */
export type PmpoSettings = z.input<typeof pmpoSettings>;

type Settings = z.output<typeof pmpoSettings>;

/** The mean log-prob of the samples of one side, of these weights [N, B], with each sample's term multiplied by `factor` [N, B]. */
function sideMean(
  logProb: Tensor2D,
  weights: Tensor2D,
  normalise: Settings['normalise'],
  factor?: Tensor2D,
): Scalar {
  // A sample of factor 0 adds 0, whatever its log-prob.
  const terms: Tensor2D = factor === undefined ? logProb : tf.mul(factor, where0(logProb, factor));
  if (normalise === 'context') return tf.mean(maskedMean(terms, weights));
  const total = tf.sum(weights);
  const sum = tf.sum(tf.mul(weights, where0(terms, weights)));
  return tf.div(sum, tf.where(tf.greater(total, 0), total, tf.onesLike(total)));
}

/** Equation 10 without its KL, as a loss; see the head of this file. */
function likelihoodLoss(
  { alpha, normalise, perToken: isPerToken, advantageScale }: Settings,
  { logProb: whole, evaluation, baseline, accept, reject, mask, length }: CheckedBatch,
): OperatorResult {
  const logProb = isPerToken ? perToken(whole, length, mask) : whole;
  const size =
    advantageScale === undefined
      ? undefined
      : tf.abs<Tensor2D>(tf.tanh(tf.div(advantages(evaluation, mask, baseline), advantageScale)));
  const accepted = sideMean(logProb, accept, normalise, size);
  const rejected = sideMean(logProb, reject, normalise, size);
  const loss: Scalar = tf.sub(tf.mul(rejected, 1 - alpha), tf.mul(accepted, alpha));
  const isScaled = size !== undefined;
  const metrics = {
    'policy/logProb/accepted': isScaled ? sideMean(logProb, accept, normalise) : accepted,
    'policy/logProb/rejected': isScaled ? sideMean(logProb, reject, normalise) : rejected,
    'policy/acceptRate': rate(accept, mask),
    'policy/rejectRate': rate(reject, mask),
  };
  return { loss, metrics };
}

export const pmpoDefinition = defineOperator({
  name: 'pmpo',
  description:
    'Preference-based MPO: raises accepted samples, lowers rejected samples, and holds the policy to its reference by a KL (arXiv 2410.04166)',
  settings: pmpoSettings,
  klParts: ({ kl }) => Object.keys(kl),
  complete({ alpha, beta, kl, ...others }, klParts) {
    if (beta !== undefined) return { alpha, beta, kl, ...others };
    return { alpha, beta: defaultBeta(alpha), kl: withDefaultBounds(kl, klParts), ...others };
  },
  create(settings): OperatorRule {
    const { alpha, beta = defaultBeta(settings.alpha), kl, reverseKl, advantageScale } = settings;
    const rule = constrainedRule(
      (batch) => likelihoodLoss(settings, batch),
      weightsOf(kl, beta),
      reverseKl ? 'reverseKl' : 'kl',
    );
    return {
      ...rule,
      independentContexts: settings.normalise === 'context',
      needs: {
        feedback: alpha === 1 ? 'accepts' : alpha === 0 ? 'rejects' : 'either',
        evaluation: advantageScale !== undefined,
        referenceLogProb: false,
        kl: reverseKl ? 'none' : 'any',
        reverseKl,
        length: settings.perToken,
        comparesSamples: advantageScale !== undefined,
        readsBaseline: advantageScale !== undefined,
        rejectsReferenceSamples: alpha < 1,
      },
      warnings(context) {
        const smallest = smallestWeight(beta, kl, context.klParts);
        return reverseKl ? reverseWarnings(alpha, smallest) : weightWarnings(alpha, smallest, context);
      },
    };
  },
});

/**
 * PMPO (arXiv 2410.04166, equation 10) with the given settings; without any, α = 0.5 and β = 1.
 * @throws ConfigError naming each setting that is unknown or out of range.
 */
export function pmpo(settings?: PmpoSettings): Operator {
  return pmpoDefinition.create(settings);
}

/** A fixed weight of the KL, and the setting that gives it. */
interface FixedWeight {
  readonly key: string;
  readonly weight: number;
}

/** The parts into which the KL of a policy can divide: of a Gaussian, a categorical, a language model. */
const divisions = [['mean', 'covariance'], ['categorical'], ['sequence']];

/**
 * The parts of a KL that are known only by their settings: just the named ones, if they make up whole KLs, as mean and covariance do;
 * else another part as well, to which beta applies.
 */
function partsBySettings(named: readonly string[]): readonly string[] {
  const whole = divisions.filter((parts) => parts.every((part) => named.includes(part))).flat();
  return whole.length > 0 && whole.length === named.length ? named : [...named, 'any other'];
}

/** The smallest fixed weight of any part of the policy's KL, undefined if every part is bounded instead. */
function smallestWeight(
  beta: number,
  byPart: Readonly<Record<string, KlWeight | undefined>>,
  klParts: readonly string[] = partsBySettings(Object.keys(byPart)),
): FixedWeight | undefined {
  const weights = klParts.flatMap((part): FixedWeight[] => {
    const set = byPart[part];
    if (set === undefined) return [{ key: 'operator.beta', weight: beta }];
    return typeof set === 'number' ? [{ key: `operator.kl.${part}`, weight: set }] : [];
  });
  return weights.toSorted((a, b) => a.weight - b.weight)[0];
}

/**
 * What α, the smallest weight β of a KL part, and the share ρ of rejected samples mean for the objective. Up to a constant,
 * −KL(π_ref ‖ π_θ) is the expectation of log π_θ under π_ref, and a share ρ of that expectation is over rejected samples. So the
 * weight on the log-likelihood of rejected samples is β·ρ − (1 − α): where it is negative, their likelihood falls without end. If parts
 * have different weights, this is a bound from below.
 */
function weightWarnings(
  alpha: number,
  smallest: FixedWeight | undefined,
  { rejectShare }: OperatorContext,
): string[] {
  if (smallest === undefined || alpha === 1 || rejectShare === 0) return [];
  const { key, weight } = smallest;
  const settings = `${key} = ${rounded(weight)} with operator.alpha = ${rounded(alpha)}`;
  if (rejectShare === undefined) {
    // The share is most often about a half, and can be anything.
    if (weight >= 2 * (1 - alpha)) return [];
    const bounded =
      weight <= 1 - alpha
        ? 'whatever share of the samples that is'
        : `unless they are a share of ${rounded((1 - alpha) / weight)} of the samples, or more`;
    return [
      `${settings}: the likelihood of rejected samples falls without end, ${bounded}. ${key} ≥ (1 − alpha)/share bounds it: ${rounded(2 * (1 - alpha))} where half are rejected`,
    ];
  }
  const onRejects = weight * rejectShare - (1 - alpha);
  // If all samples are rejected, the objective is flat at the boundary, and noise decides.
  if (rejectShare < 1 ? onRejects >= 0 : onRejects > 0) return [];
  return [
    `${settings} and a share of ${rounded(rejectShare)} rejected: the weight on rejected samples is ${rounded(onRejects)}${onRejects < 0 ? ' < 0' : ''}, so that their likelihood falls without end. ${key} ${rejectShare < 1 ? '≥' : '>'} ${rounded((1 - alpha) / rejectShare)} bounds it`,
  ];
}

/** KL(π_θ ‖ π_ref) is finite where π_θ(y|x) = 0, and log π_θ(y|x) is not. */
function reverseWarnings(alpha: number, smallest: FixedWeight | undefined): string[] {
  if (smallest === undefined || alpha === 1) return [];
  const { key, weight } = smallest;
  return [
    `${key} = ${weight} with operator.reverseKl and operator.alpha = ${alpha}: KL(policy ‖ reference) stays finite while the log-prob of a rejected sample falls without end, so the objective has no bound at any weight. Bound the KL, operator.kl.PART={epsilon: 0.01}, set operator.reverseKl=false, or watch policy/logProb/rejected`,
  ];
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
