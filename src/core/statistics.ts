import { fillIntegers, foldIn, type RandomKey } from './random-keys.js';

/** The mean; NaN if there are no values. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The population standard deviation (divided by n); NaN if there are no values. */
export function standardDeviation(values: readonly number[]): number {
  const center = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - center) ** 2)));
}

/**
 * The q-quantile (0 ≤ q ≤ 1), interpolated linearly between neighbors as NumPy does by default; NaN if there are no values.
 * Between −∞ and a number the result is −∞.
 */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const low = sorted[Math.floor(position)] ?? Number.NaN;
  const high = sorted[Math.ceil(position)] ?? Number.NaN;
  return Number.isFinite(low) ? low + (high - low) * (position - Math.floor(position)) : low;
}

/** The median; NaN if there are no values. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/**
 * The interquartile mean: the mean of the middle half of the values, in which the values at both ends count in part if their
 * number is not a multiple of 4. As robust as a median and as efficient as a mean (Agarwal et al., arXiv 2108.13264, section
 * 4.3). NaN if there are no values; −∞ if the middle half contains −∞.
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
 * A percentile bootstrap interval of a statistic over strata (for example tasks), with replacement within each stratum as in
 * arXiv 2108.13264, section 4.2.
 *
 * @param strata the values of each stratum; empty strata are ignored
 * @param level the coverage of the interval, 0.95 by default
 * @returns both ends of the interval; NaN if there are no values
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

/** The scores of several runs of one algorithm, by task. */
export type ScoresByTask = readonly (readonly number[])[];

/**
 * The probability that a run of X has a greater score than a run of Y on the same task, averaged over the tasks; a tie counts as half
 * (Agarwal et al., arXiv 2108.13264, section 4.3; the Mann-Whitney U statistic divided by the number of pairs).
 *
 * @param x the scores of X by task
 * @param y the scores of Y on the same tasks, in the same order
 * @returns in [0, 1]; NaN if a task has no scores
 */
export function probabilityOfImprovement(x: ScoresByTask, y: ScoresByTask): number {
  return mean(
    x.map((own, task) => mean(own.flatMap((a) => y[task]!.map((b) => (a > b ? 1 : a === b ? 0.5 : 0))))),
  );
}

/**
 * The 95 % interval of the probability of improvement, by a percentile bootstrap that resamples the runs of X and of Y on each task
 * independently, as rliable does.
 */
export function probabilityOfImprovementInterval(
  x: ScoresByTask,
  y: ScoresByTask,
  key: RandomKey,
  { draws = 2000, level = 0.95 }: { readonly draws?: number; readonly level?: number } = {},
): readonly [low: number, high: number] {
  const values = Array.from({ length: draws }, (_, draw) => {
    const drawKey = foldIn(key, draw);
    return probabilityOfImprovement(resampled(x, foldIn(drawKey, 'x')), resampled(y, foldIn(drawKey, 'y')));
  });
  return [quantile(values, (1 - level) / 2), quantile(values, (1 + level) / 2)];
}

/** As many values of each stratum as it has, drawn with replacement. */
function resampled(strata: ScoresByTask, key: RandomKey): number[][] {
  return strata.map((values, stratum) => {
    const picks = fillIntegers(foldIn(key, stratum), values.length, new Uint32Array(values.length));
    return Array.from(picks, (i) => values[i]!);
  });
}

/**
 * The performance profile (arXiv 2108.13264, section 4.2): for each threshold, the share of the runs over all tasks whose score is greater.
 */
export function performanceProfile(scores: ScoresByTask, thresholds: readonly number[]): number[] {
  const all = scores.flat();
  return thresholds.map((threshold) => mean(all.map((score) => (score > threshold ? 1 : 0))));
}

/** The fewest seeds whose bootstrap interval says more than their range. */
export const fewestForInterval = 5;

/** An interval of scores, and what it is. */
export interface ScoreInterval {
  readonly low: number;
  readonly high: number;
  /** `range`: the least and the greatest score, because there are too few for a bootstrap. */
  readonly kind: 'bootstrap' | 'range';
}

/**
 * The 95 % bootstrap interval of the interquartile mean of scores by task; their range, and called so, if a task has fewer than
 * `fewestForInterval` scores: a bootstrap of three values ends at their least and greatest anyway, and covers less than it says.
 */
export function scoreInterval(scores: ScoresByTask, key: RandomKey): ScoreInterval {
  const fewest = Math.min(...scores.map(({ length }) => length));
  if (!(fewest >= fewestForInterval)) {
    const all = scores.flat();
    return { low: Math.min(...all), high: Math.max(...all), kind: 'range' };
  }
  const [low, high] = bootstrapInterval(scores, interquartileMean, key);
  return { low, high, kind: 'bootstrap' };
}

/**
 * Wilson's score interval (E. B. Wilson, 1927) of the share of `successes`, which may be fractional, in `total`.
 * @param z the half-width in standard deviations; the default covers 95 %.
 * @returns both ends of the interval; 0 and 1 if `total` is 0.
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
