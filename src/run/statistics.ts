/** The mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The standard deviation of these very values (divided by n); 0 of a single one, NaN of nothing. */
export function standardDeviation(values: readonly number[]): number {
  const center = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - center) ** 2)));
}

/**
 * The q-quantile (0 ≤ q ≤ 1), interpolated linearly between neighbours as NumPy does by default; NaN of nothing. Between
 * −∞ and a number there is only −∞.
 */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const low = sorted[Math.floor(position)] ?? Number.NaN;
  const high = sorted[Math.ceil(position)] ?? Number.NaN;
  return Number.isFinite(low) ? low + (high - low) * (position - Math.floor(position)) : low;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
