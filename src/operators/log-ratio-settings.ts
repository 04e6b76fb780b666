import { z } from 'zod';
import { type KlSettings, withDefaultBounds } from './kl-settings.js';

/** The settings of operators whose loss is a function of β times log-ratios, log π_θ − log π_ref: DPO, IPO, CPO and KTO. */

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
