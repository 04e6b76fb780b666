/** Schedules that count updates. */

/** How one set of parameters follows another: copied every `period` updates, or an exponential moving average with `rate`. */
export type CopyRule = { readonly period: number } | { readonly rate: number };

/** Whether to copy once `updates` updates are done. A moving average moves after every update. */
export function copyIsDue(rule: CopyRule, updates: number): boolean {
  return 'rate' in rule || updates % rule.period === 0;
}

/**
 * The factor of a learning rate after the share `progress` of the run, in [0, 1]: 1 up to `decayFrom`, then linearly down to a
 * twentieth at the end.
 */
export function learningRateFactor(progress: number, decayFrom: number): number {
  if (progress <= decayFrom) return 1;
  return Math.max(0.05, (1 - progress) / (1 - decayFrom));
}
