/** Schedules that count updates. */

/** How one set of parameters follows another: copied every `period` updates, or an exponential moving average with `rate`. */
export type CopyRule = { readonly period: number } | { readonly rate: number };

/** Whether to copy once `updates` updates are done. A moving average moves after every update. */
export function copyIsDue(rule: CopyRule, updates: number): boolean {
  return 'rate' in rule || updates % rule.period === 0;
}

/** Updates that are made at the full learning rate, however short the run is. */
const fullRateUpdates = 1000;

/**
 * The share of a control run after which its learning rates decay: `decayFrom`, or later if fewer than 1,000 updates come before it;
 * 1 or more means that they never do. The first updates of the policy follow critics that have learned nothing yet, and lead it away
 * from where it was; a rate that decays at once leaves it there, because critics and policy both become too slow to come back.
 */
export function decayStart({
  decayFrom,
  warmupSteps,
  stepsPerUpdate,
  environmentSteps,
}: {
  readonly decayFrom: number;
  readonly warmupSteps: number;
  readonly stepsPerUpdate: number;
  readonly environmentSteps: number;
}): number {
  return Math.max(decayFrom, (warmupSteps + fullRateUpdates * stepsPerUpdate) / environmentSteps);
}

/**
 * The factor of a learning rate after the share `progress` of the run, in [0, 1]: 1 up to `decayFrom`, then linearly down to a
 * twentieth at the end.
 */
export function learningRateFactor(progress: number, decayFrom: number): number {
  if (progress <= decayFrom) return 1;
  return Math.max(0.05, (1 - progress) / (1 - decayFrom));
}

/** The settings by which the learning rates of a control run decay. */
export type ControlDecay = Parameters<typeof decayStart>[0];

/** The factor of a control run's learning rates after `steps` environment steps. */
export function controlLearningRateFactor(steps: number, settings: ControlDecay): number {
  return learningRateFactor(steps / settings.environmentSteps, decayStart(settings));
}
