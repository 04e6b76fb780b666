import { z } from 'zod';
import type { NamedTensors, Scalar } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { initialKlDuals, type KlWeight, klConstraints, projectDuals } from './lagrange.js';
import type { CheckedBatch, OperatorNeeds, OperatorResult, OperatorRule } from './operator.js';

/** The settings by which operators weigh or bound KL(reference ‖ policy), part by part. */

const klWeight = z.union([
  z.number().min(0),
  z.strictObject({
    epsilon: z
      .number()
      .positive()
      .describe('Bound on the KL of each dimension, nats; a dual variable adapts the weight to it'),
    initialWeight: z.number().positive().default(1).describe('Initial value of the adapted weight'),
  }),
]);

const klByPart = z
  .strictObject({
    mean: klWeight.optional(),
    covariance: klWeight.optional(),
    categorical: klWeight.optional(),
    sequence: klWeight.optional(),
  })
  .prefault({});

/** Weights and bounds by the parts of the KL. */
export type KlSettings = z.output<typeof klByPart>;

/** The schema of a weight or a bound for each part of the KL. @param meaning what they are for the operator. */
export function klSettings(meaning: string) {
  return klByPart.describe(
    `By part of the KL, mean and covariance (Gaussian head), categorical (categorical head), sequence (language): ${meaning}`,
  );
}

/**
 * The bound of a Gaussian's covariance, by which a deviation can change by a factor of e in some three hundred copies of the reference.
 * By 1e-4 it can in a hundred: on `reacher` the deviations were at their floor after 40,000 updates. Acme's 1e-6, and 1000 for the dual
 * at the start, hold the deviations where they begin for as long as most runs here last.
 */
const covarianceBound = { epsilon: 1e-5, initialWeight: 100 };

/**
 * The bounds of the parts of a policy of actions. A weight that suits one task lets the deviations of another collapse in a few
 * thousand updates; a bound makes the speed at which a policy may become narrow a setting by itself.
 */
const defaultBounds: Readonly<Record<string, KlWeight>> = {
  mean: { epsilon: 0.01, initialWeight: 1 },
  covariance: covarianceBound,
  categorical: { epsilon: 0.01, initialWeight: 1 },
};

/** `kl` with the default bounds of those parts of a policy of actions that it does not name. */
export function withDefaultBounds(kl: KlSettings, klParts: readonly string[]): KlSettings {
  const bounds = Object.entries(defaultBounds).filter(([part]) => klParts.includes(part));
  return { ...Object.fromEntries(bounds), ...kl };
}

/** The weight or the bound of a part; `otherwise` for a part that the settings do not name. */
export function weightsOf(kl: KlSettings, otherwise: number): (part: string) => KlWeight {
  const byPart: Readonly<Record<string, KlWeight | undefined>> = kl;
  return (part) => byPart[part] ?? otherwise;
}

/**
 * An operator whose loss is `loss` plus the KL by `weightOf`: everything but what it needs. Its state are the duals of the bounded
 * parts.
 * @param direction which KL of the batch is added
 */
export function constrainedRule(
  loss: (batch: CheckedBatch) => OperatorResult,
  weightOf: (part: string) => KlWeight,
  direction: 'kl' | 'reverseKl' = 'kl',
): Omit<OperatorRule, 'needs'> {
  return {
    initialState: (policy) => initialKlDuals(policy, weightOf),
    projectState: projectDuals,
    explorationRemedy: (klPart) => klRemedy(klPart, weightOf(klPart)),
    loss: (batch, state) => withKlConstraints(loss(batch), batch[direction], state, weightOf, batch.problems),
  };
}

/** A result with the weighted or bounded KL added to its loss. */
function withKlConstraints(
  { loss, metrics }: OperatorResult,
  kl: CheckedBatch['kl'],
  state: NamedTensors,
  weightOf: (part: string) => KlWeight,
  problems: number,
): OperatorResult {
  const constraints = klConstraints(kl(), state, weightOf, problems);
  const total: Scalar = tf.add(loss, constraints.loss);
  return { loss: total, metrics: { ...metrics, 'policy/loss': total, ...constraints.metrics } };
}

/** The setting that keeps the spread of a policy, whose change `part` measures, from collapsing. */
export function klRemedy(part: string, weight: KlWeight): string {
  const key = `operator.kl.${part}`;
  if (typeof weight === 'object') return `Lower ${key}.epsilon, which is ${weight.epsilon}`;
  const epsilon = part === 'covariance' ? covarianceBound.epsilon : 1e-3;
  return `Bound the change of the policy, ${key}={epsilon: ${epsilon}}, or give ${key} a larger weight than ${weight}`;
}

/** The schema of the KL that is added to the loss. */
export const addedKl = klSettings(
  'a weight of KL(reference ‖ policy), or a bound, {epsilon}; default: none for a language model; the parts of a policy of actions are bounded as for PMPO',
);

/**
 * An operator of this loss, to which the KL is added if the settings name any part of it.
 * @param needs of the loss alone; with the KL, it is needed too.
 */
export function addedKlRule(
  kl: KlSettings,
  needs: OperatorNeeds,
  loss: (batch: CheckedBatch) => OperatorResult,
): OperatorRule {
  const rule = constrainedRule(loss, weightsOf(kl, 0));
  if (Object.keys(kl).length === 0) return { ...rule, loss, needs: { kl: 'none', ...needs } };
  return { ...rule, needs: { ...needs, kl: 'any' } };
}

const klBound = z.strictObject({
  epsilon: z.number().positive().describe('Bound on the KL of each dimension, nats'),
  initialWeight: z.number().positive().describe('Initial value of the dual variable'),
});

/** The bound of every part but a Gaussian's covariance, those of a plugin's distribution included. */
const defaultBound = { epsilon: 0.01, initialWeight: 1 };

/** The schema of the bounds of MPO's M-step. */
export const klBounds = z
  .strictObject({
    mean: klBound.prefault(defaultBound),
    covariance: klBound.prefault(covarianceBound),
    categorical: klBound.prefault(defaultBound),
    sequence: klBound.prefault(defaultBound),
  })
  .prefault({})
  .describe(
    'Bounds of the M-step by part of the KL: mean and covariance (Gaussian head), categorical (categorical head), sequence (language)',
  );

export type KlBounds = z.output<typeof klBounds>;

/** The bound of a part. */
export function boundOf(kl: KlBounds): (part: string) => KlWeight {
  const byPart: Readonly<Record<string, KlWeight | undefined>> = kl;
  return (part) => byPart[part] ?? defaultBound;
}
