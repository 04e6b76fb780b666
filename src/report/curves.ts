import { formatNumber } from '../core/format.js';
import { foldIn, randomKey } from '../core/random-keys.js';
import {
  interquartileMean,
  mean,
  median,
  quantile,
  type ScoreInterval,
  scoreInterval,
  standardDeviation,
} from '../core/statistics.js';
import { jobTerms } from '../run/job-terms.js';
import { outcomeOf, type RunData } from './run-data.js';

/** Runs that differ only in their seeds. */
export interface RunGroup {
  readonly label: string;
  readonly runs: readonly RunData[];
}

/** Groups runs by label, in the order in which labels first appear, and sorts each group by seed. */
export function groupRuns(runs: readonly RunData[]): RunGroup[] {
  const labels = [...new Set(runs.map(({ label }) => label))];
  return labels.map((label) => ({
    label,
    runs: runs.filter((run) => run.label === label).sort((a, b) => a.seed - b.seed),
  }));
}

/** With fewer seeds than this, each is shown, and no interval is drawn from them. */
export const enoughSeeds = 5;

/** A point of a learning curve: of its line, and of the bands around it. */
export interface CurvePoint {
  readonly label: string;
  readonly steps: number;
  /** For one run, the mean over episodes; for several, the median over seeds of these means. */
  readonly center: number;
  /** The interquartile band over episodes (one run) or over seeds (several). */
  readonly low: number;
  readonly high: number;
  /** The range over episodes (one run) or over the seeds' means (several). */
  readonly minimum: number;
  readonly maximum: number;
  /** Number of values from which the bands are computed. */
  readonly count: number;
}

function summarize(label: string, steps: number, center: number, values: readonly number[]): CurvePoint {
  return {
    label,
    steps,
    center,
    low: quantile(values, 0.25),
    high: quantile(values, 0.75),
    minimum: Math.min(...values),
    maximum: Math.max(...values),
    count: values.length,
  };
}

/**
 * The learning curve of a group. With several seeds it has a point only at steps at which every seed has a finite
 * evaluation, because a median over the seeds that have not diverged would flatter the group.
 */
export function groupCurve({ label, runs }: RunGroup): CurvePoint[] {
  const [first] = runs;
  if (first === undefined) return [];
  if (runs.length === 1) {
    return first.evaluations
      .filter(({ scores }) => scores.length > 0 && scores.every(Number.isFinite))
      .map(({ steps, scores }) => summarize(label, steps, mean(scores), scores));
  }
  return first.evaluations.flatMap(({ steps }) => {
    const means = runs.map((run) => {
      const found = run.evaluations.find((record) => record.steps === steps);
      return mean(found?.scores ?? []);
    });
    return means.every(Number.isFinite) ? [summarize(label, steps, median(means), means)] : [];
  });
}

/** The scores of one evaluation of one run. */
export interface SeedPoint {
  readonly label: string;
  readonly run: string;
  readonly seed: number;
  readonly steps: number;
  readonly meanScore: number;
  readonly stdScore: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly scoreCount: number;
}

/** Every finite evaluation of every run. */
export function seedCurves(runs: readonly RunData[]): SeedPoint[] {
  return runs.flatMap((run) =>
    run.evaluations
      .map(({ steps, scores }) => ({
        label: run.label,
        run: run.name,
        seed: run.seed,
        steps,
        meanScore: mean(scores),
        stdScore: standardDeviation(scores),
        minimum: Math.min(...scores),
        maximum: Math.max(...scores),
        scoreCount: scores.length,
      }))
      .filter(({ meanScore }) => Number.isFinite(meanScore)),
  );
}

/** The final scores of a group. A run that diverged counts as −∞, so that it is worse than any other and not left out. */
export interface GroupOutcome {
  readonly label: string;
  readonly seeds: number;
  readonly diverged: number;
  /** Statistics over seeds of the final mean scores; NaN if no run was evaluated. */
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly mean: number;
  readonly interquartileMean: number;
  /** Of the interquartile mean; the range of the seeds if they are few. */
  readonly interval: ScoreInterval;
  /** The final scores themselves. */
  readonly scores: readonly number[];
  readonly minimum: number;
  readonly maximum: number;
  /** Medians over seeds. */
  readonly steps: number;
  readonly wallSeconds: number;
}

export function groupOutcome({ label, runs }: RunGroup): GroupOutcome {
  const outcomes = runs.map(outcomeOf);
  const scores = runs
    .map(({ status }, index) =>
      status === 'diverged' ? Number.NEGATIVE_INFINITY : outcomes[index]!.meanScore,
    )
    .filter((value) => !Number.isNaN(value));
  return {
    label,
    seeds: runs.length,
    diverged: runs.filter(({ status }) => status === 'diverged').length,
    median: median(scores),
    low: quantile(scores, 0.25),
    high: quantile(scores, 0.75),
    mean: mean(scores),
    interquartileMean: interquartileMean(scores),
    interval: scoreInterval([scores], foldIn(randomKey(0), label)),
    scores,
    minimum: quantile(scores, 0),
    maximum: quantile(scores, 1),
    steps: median(outcomes.map(({ steps }) => steps)),
    wallSeconds: median(outcomes.map(({ wallSeconds }) => wallSeconds)),
  };
}

/** The final returns of a label in a line: those of each seed, or the median and the range of many. */
export function outcomeLine({
  label,
  median,
  minimum,
  maximum,
  seeds,
  diverged,
  scores,
}: GroupOutcome): string {
  const lost = diverged > 0 ? `, ${diverged} diverged` : '';
  if (seeds < enoughSeeds) {
    const known = scores.filter(Number.isFinite).map(formatNumber).join(', ');
    return `${label}: ${seeds === 1 ? 'return' : 'returns'} ${known === '' ? 'unknown' : known} (${seeds} ${seeds === 1 ? 'seed' : 'seeds'}${lost})`;
  }
  return `${label}: median return ${formatNumber(median)} (${formatNumber(minimum)} – ${formatNumber(maximum)} over ${seeds} seeds${lost})`;
}

/** A point of a metric's line. */
export interface MetricPoint {
  readonly label: string;
  readonly run: string;
  readonly metric: string;
  readonly steps: number;
  readonly value: number;
}

const maxPoints = 240;

/** Reduces a line to at most `maxPoints` means of neighboring points, so that the report of a long run stays small. */
function thin(points: readonly MetricPoint[]): MetricPoint[] {
  if (points.length <= maxPoints) return [...points];
  const size = Math.ceil(points.length / maxPoints);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, bucket) => {
    const members = points.slice(bucket * size, (bucket + 1) * size);
    return { ...members.at(-1)!, value: mean(members.map(({ value }) => value)) };
  });
}

/** The finite points of one metric of one run. */
export function metricLine(run: RunData, metric: string): MetricPoint[] {
  const points = run.metrics.flatMap(({ steps, values }) => {
    const value = values[metric];
    return value === undefined || !Number.isFinite(value)
      ? []
      : [{ label: run.label, run: run.name, metric, steps, value }];
  });
  return thin(points);
}

/** The moving mean of a line, over a centered window of a twentieth of its points. */
function smooth(points: readonly MetricPoint[]): MetricPoint[] {
  const reach = Math.floor(points.length / 40);
  return points.map((point, index) => {
    const window = points.slice(Math.max(0, index - reach), index + reach + 1);
    return { ...point, value: mean(window.map(({ value }) => value)) };
  });
}

/**
 * The trends of a chart's lines: the moving mean of each line. For several runs with one label, the median of their moving
 * means at each step that all of them reached.
 */
export function trendLines(points: readonly MetricPoint[]): MetricPoint[] {
  const bundles = new Map<string, Map<string, MetricPoint[]>>();
  for (const point of points) {
    const bundle = bundles.get(`${point.label}\n${point.metric}`) ?? new Map<string, MetricPoint[]>();
    bundles.set(`${point.label}\n${point.metric}`, bundle);
    bundle.set(point.run, [...(bundle.get(point.run) ?? []), point]);
  }
  return [...bundles.values()].flatMap((bundle) => {
    const [first, ...others] = [...bundle.values()].map(smooth);
    const atStep = others.map((line) => new Map(line.map((point) => [point.steps, point.value])));
    return first!.flatMap((point) => {
      const values = [point.value, ...atStep.map((line) => line.get(point.steps) ?? Number.NaN)];
      return values.every(Number.isFinite) ? [{ ...point, run: 'trend', value: median(values) }] : [];
    });
  });
}

/** The learning curves as CSV, with a row for each finite evaluation of each run. */
export function curveCsv(runs: readonly RunData[]): string {
  const head =
    'label,run,operator,environment,seed,steps,step_unit,score_name,mean_score,std_score,min_score,max_score,score_count';
  const quote = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = runs.flatMap((run) => {
    const { stepUnit, scoreName } = jobTerms[run.kind];
    return seedCurves([run]).map((point) =>
      [
        quote(point.label),
        quote(point.run),
        quote(run.operator),
        quote(run.environment),
        point.seed,
        point.steps,
        stepUnit,
        scoreName,
        point.meanScore,
        point.stdScore,
        point.minimum,
        point.maximum,
        point.scoreCount,
      ].join(','),
    );
  });
  return `${[head, ...rows].join('\n')}\n`;
}
