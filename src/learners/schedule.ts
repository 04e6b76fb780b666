/** 1 until the share `decayFrom` of the run is done, then linearly down to a twentieth at its end. */
export function learningRateFactor(progress: number, decayFrom: number): number {
  if (progress <= decayFrom) return 1;
  return Math.max(0.05, (1 - progress) / (1 - decayFrom));
}
