import { z } from 'zod';
import { constrainedRule, type KlSettings, klSettings, weightsOf, withDefaultBounds } from './kl-settings.js';
import type { CheckedBatch, OperatorResult, OperatorRule } from './operator.js';

/** The settings of operators whose loss is a function of β times log-ratios, log π_θ − log π_ref: DPO and KTO. */

/**
 * β for policies of actions, whose reference moves after them every hundred updates: as much as feedback may do to the policy in that
 * time before the loss is flat.
 */
const actionBeta = 10;

/** The schema of β. @param defaultBeta β for a language model. */
export function betaSetting(defaultBeta: number) {
  return z
    .number()
    .positive()
    .optional()
    .describe(
      `β of the paper, which scales the log-ratios: the larger it is, the closer the policy stays to its reference; default: ${defaultBeta}, or ${actionBeta} for a policy of actions`,
    );
}

/** The schema of the KL that is added to the loss. */
export const addedKl = klSettings(
  'a weight of KL(reference ‖ policy), or a bound, {epsilon}; default: none for a language model; the parts of a policy of actions are bounded as for PMPO',
);

interface LogRatioSettings {
  readonly beta?: number | undefined;
  readonly kl: KlSettings;
}

/** Fills in what depends on the kind of policy: β, and bounds for the KL of a policy of actions. */
export function completeLogRatio(
  { beta, kl }: LogRatioSettings,
  klParts: readonly string[],
  defaultBeta: number,
): { beta: number; kl: KlSettings } {
  return {
    beta: beta ?? (klParts.includes('sequence') ? defaultBeta : actionBeta),
    kl: withDefaultBounds(kl, klParts),
  };
}

/** An operator of this loss, to which the KL is added if the settings name any part of it. */
export function logRatioRule(
  kl: KlSettings,
  loss: (batch: CheckedBatch) => OperatorResult,
): Omit<OperatorRule, 'needs'> {
  const rule = constrainedRule(loss, weightsOf(kl, 0));
  return addsKl(kl) ? rule : { ...rule, loss };
}

/** Whether the settings name any part of the KL. */
export function addsKl(kl: KlSettings): boolean {
  return Object.keys(kl).length > 0;
}
