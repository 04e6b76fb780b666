/**
 * The factor of a learning rate after the share `progress` of the run, in [0, 1]: 1 up to `decayFrom`, then linearly down to a
 * twentieth at the end.
 */
export function learningRateFactor(progress: number, decayFrom: number): number {
  if (progress <= decayFrom) return 1;
  return Math.max(0.05, (1 - progress) / (1 - decayFrom));
}
