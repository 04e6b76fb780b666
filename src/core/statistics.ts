import { fillIntegers, foldIn, type RandomKey } from './random-keys.js';

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

/**
 * The interquartile mean: the mean of the middle half, the ends counted in part where the quarter does not fall between two
 * values. Robust as a median, efficient as a mean (Agarwal et al., arXiv 2108.13264, section 4.3). NaN of nothing; −∞ among
 * the middle half makes it −∞.
 */
export function interquartileMean(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [from, to] = [sorted.length / 4, (3 * sorted.length) / 4];
  let sum = 0;
  sorted.forEach((value, i) => {
    const share = Math.min(to, i + 1) - Math.max(from, i);
    if (share > 0) sum += share * value;
  });
  return sorted.length === 0 ? Number.NaN : sum / (to - from);
}

/**
 * A percentile bootstrap interval of a statistic over strata (tasks, say), each redrawn with replacement by itself as in
 * arXiv 2108.13264, section 4.2.
 *
 * @param strata the values of each stratum; empty ones are left out
 * @param level the share that the interval covers, 0.95 by default
 * @returns NaN twice where there is nothing
 */
export function bootstrapInterval(
  strata: readonly (readonly number[])[],
  statistic: (values: readonly number[]) => number,
  key: RandomKey,
  { draws = 2000, level = 0.95 }: { readonly draws?: number; readonly level?: number } = {},
): readonly [low: number, high: number] {
  const filled = strata.filter(({ length }) => length > 0);
  if (filled.length === 0) return [Number.NaN, Number.NaN];
  const statistics = Array.from({ length: draws }, (_, draw) => {
    const drawKey = foldIn(key, draw);
    return statistic(
      filled.flatMap((values, stratum) => {
        const picks = fillIntegers(foldIn(drawKey, stratum), values.length, new Uint32Array(values.length));
        return Array.from(picks, (i) => values[i]!);
      }),
    );
  });
  return [quantile(statistics, (1 - level) / 2), quantile(statistics, (1 + level) / 2)];
}

/**
 * Wilson's score interval of a share (E. B. Wilson, 1927): of `successes` among `total`; fractions of a success are allowed.
 * @param z how many standard deviations wide; default: 95 %.
 * @returns 0 and 1 of nothing.
 */
export function wilsonInterval(
  successes: number,
  total: number,
  z = 1.959963984540054,
): readonly [low: number, high: number] {
  if (total === 0) return [0, 1];
  const share = successes / total;
  const spread = z ** 2 / total;
  const center = (share + spread / 2) / (1 + spread);
  const half = (z / (1 + spread)) * Math.sqrt((share * (1 - share) + spread / 4) / total);
  return [Math.max(0, center - half), Math.min(1, center + half)];
}
