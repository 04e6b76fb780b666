import { formatNumber } from '../core/format.js';
import { median } from '../core/statistics.js';
import { type MetricPoint, metricLine } from './curves.js';
import type { RunData } from './run-data.js';
import type { MetricChart } from './specs.js';
import { diversityTitles } from './text-charts.js';

/** Metrics that share a chart, by their names in `metrics.jsonl`. */
interface Subject {
  readonly title: string;
  readonly subtitle?: string;
  readonly matches: RegExp;
  readonly share?: boolean;
  /** Whether the values before the learner is at work would flatten the others: they are left out. */
  readonly afterWarmup?: boolean;
  /** Whether a report of one run shows it beside the completions instead. */
  readonly besideCompletions?: boolean;
}

/** The most important charts, in this order. Every other metric gets a separate chart after them. */
const subjects: readonly Subject[] = [
  { title: 'Training return', subtitle: 'of the episodes acted in', matches: /^acting\/return$/ },
  { title: 'Training reward', subtitle: 'of the completions learned from', matches: /^acting\/reward$/ },
  { title: 'Episode length', subtitle: 'steps, of the episodes acted in', matches: /^acting\/length$/ },
  { title: 'Win rate', subtitle: 'against the base model', matches: /^evaluation\/winRate$/, share: true },
  {
    title: 'Win rate by the judge',
    subtitle: 'against the base model',
    matches: /^evaluation\/judgeWinRate$/,
    share: true,
  },
  {
    title: 'Reward by the judge',
    subtitle: 'of held-out completions',
    matches: /^evaluation\/judgeReward$/,
  },
  {
    ...diversityTitles,
    matches: /^evaluation\/(distinct[12]|selfBleu|repetition)$/,
    share: true,
    besideCompletions: true,
  },
  {
    title: 'Length',
    subtitle: 'words of held-out completions',
    matches: /^evaluation\/words$/,
    besideCompletions: true,
  },
  { title: 'Perplexity', subtitle: 'of held-out texts', matches: /^heldOut\/perplexity$/ },
  { title: 'Held-out log-probability', matches: /^heldOut\/logProb\// },
  { title: 'Policy loss', matches: /^policy\/loss$/ },
  { title: 'Critic loss', matches: /^critic\/loss$/ },
  { title: 'Value estimates', matches: /^critic\/(value|target)$/ },
  { title: 'KL(reference ‖ policy)', subtitle: 'nats', matches: /^policy\/kl(\/[^/]+)?$/ },
  { title: 'Weight of the KL', matches: /^policy\/kl-weight(\/|$)/ },
  {
    title: 'Accepted and rejected',
    subtitle: 'share of the samples',
    matches: /^policy\/(accept|reject)Rate$/,
    share: true,
  },
  { title: 'Temperature', matches: /^policy\/temperature$/ },
  { title: 'Entropy', subtitle: 'nats', matches: /^policy\/entropy$/ },
  { title: 'Standard deviation', matches: /^policy\/stddev$/ },
  { title: 'Log-probability', matches: /^policy\/logProb\// },
  {
    title: 'Environment steps per second',
    subtitle: 'while it learns',
    matches: /^speed\/stepsPerSecond$/,
    afterWarmup: true,
  },
  { title: 'Completion length', subtitle: 'tokens, of those learned from', matches: /^completion\/tokens$/ },
];

/**
 * Short names for the metrics of one chart: `policy/kl/mean` is `mean`, and the sum `policy/kl` is `total`. Parts come
 * first, so that a part has the same color in every chart of parts.
 */
function shortNames(metrics: readonly string[]): Map<string, string> {
  const isWhole = (name: string) => metrics.some((other) => other.startsWith(`${name}/`));
  const part = (name: string) => name.split('/').at(-1)!.replace(/Rate$/, '');
  const ordered = [...metrics.filter((name) => !isWhole(name)), ...metrics.filter(isWhole)];
  return new Map(ordered.map((name) => [name, isWhole(name) ? 'total' : part(name)]));
}

function metricNames(runs: readonly RunData[]): string[] {
  const names = new Set<string>();
  for (const run of runs)
    for (const { values } of run.metrics) for (const name of Object.keys(values)) names.add(name);
  return [...names].sort();
}

/**
 * A run without the records from before the learner was at work: those that had less than half of the usual number of updates. All of
 * them stay if too few would be left.
 */
function withoutWarmup(run: RunData): RunData {
  const updates = run.metrics.map((record, i) => record.updates - (run.metrics[i - 1]?.updates ?? 0));
  const usual = median(updates.slice(-Math.ceil(updates.length / 2)));
  const first = updates.findIndex((count) => count > 0 && count >= usual / 2);
  const metrics = run.metrics.slice(Math.max(0, first));
  return metrics.length < 3 ? run : { ...run, metrics };
}

/** For one run, one chart with all metrics of a subject; for several, a chart for each metric, colored by label. */
function chartsOf(
  runs: readonly RunData[],
  { title, subtitle, matches, share, afterWarmup = false }: Subject,
  names: readonly string[],
) {
  const drawn = afterWarmup ? runs.map(withoutWarmup) : runs;
  const short = shortNames(names.filter((name) => matches.test(name)));
  const metrics = [...short.keys()];
  const labels = [...new Set(runs.map(({ label }) => label))];
  const lines = (metric: string): MetricPoint[] => drawn.flatMap((run) => metricLine(run, metric));
  if (runs.length === 1) {
    const points = metrics.flatMap((metric) =>
      lines(metric).map((point) => ({ ...point, metric: short.get(metric)! })),
    );
    const domain = metrics.map((metric) => short.get(metric)!);
    return points.length === 0
      ? []
      : [{ title, subtitle, points, by: 'metric', domain, share } satisfies MetricChart];
  }
  return metrics.flatMap((metric): MetricChart[] => {
    const points = lines(metric);
    const part = metrics.length > 1 ? `${title}: ${short.get(metric)}` : title;
    return points.length === 0 ? [] : [{ title: part, subtitle, points, by: 'label', domain: labels, share }];
  });
}

/** Whether no line of a chart ever changes, as the share of accepted samples where feedback accepts a fixed number. */
function isConstant({ points, by }: MetricChart): boolean {
  const firsts = new Map<string, number>();
  return points.every((point) => {
    const line = by === 'metric' ? point.metric : '';
    const first = firsts.get(line) ?? point.value;
    firsts.set(line, first);
    return Math.abs(point.value - first) <= 1e-9 * Math.max(1, Math.abs(first));
  });
}

/** What a constant chart would show: `Accepted and rejected: accept 0.5, reject 0.5`. */
function constantText({ title, points, by, domain }: MetricChart): string {
  const values = by === 'metric' && domain.length > 1 ? domain : [undefined];
  const parts = values.map((name) => {
    const value = formatNumber(points.find(({ metric }) => name === undefined || metric === name)?.value);
    return name === undefined ? value : `${name} ${value}`;
  });
  return `${title}: ${parts.join(', ')}`;
}

/** Charts of all recorded metrics: the most important ones, what of these never changed, in words, and the rest. */
export function metricCharts(runs: readonly RunData[]): {
  main: MetricChart[];
  constant: string[];
  more: MetricChart[];
} {
  const names = metricNames(runs);
  const drawn = subjects.filter(({ besideCompletions }) => besideCompletions !== true || runs.length > 1);
  const important = drawn.flatMap((subject) => chartsOf(runs, subject, names));
  const rest = names.filter((name) => !subjects.some(({ matches }) => matches.test(name)));
  const more = rest.flatMap((name) =>
    chartsOf(runs, { title: name, matches: /./ }, [name]).map((chart) => ({ ...chart, title: name })),
  );
  // Two points are needed to tell.
  const isFlat = (chart: MetricChart) => chart.points.length > 2 && isConstant(chart);
  return {
    main: important.filter((chart) => !isFlat(chart)),
    constant: important.filter(isFlat).map(constantText),
    more,
  };
}
