import { foldIn, randomKey } from '../../core/random-keys.js';
import { interquartileMean, scoreInterval } from '../../core/statistics.js';
import type { EvaluationRecord, MetricRecord } from '../../run/records.js';

/** The metrics of a study's runs: over training, and at their end. */

/** What is read of a run. */
export interface RunMetrics {
  readonly task: string;
  readonly variant: string;
  readonly seed: number;
  readonly data: {
    readonly metrics: readonly MetricRecord[];
    readonly evaluations: readonly Pick<EvaluationRecord, 'updates'>[];
  };
}

/** The value of a metric at a run's last evaluation (without evaluations: its last record); undefined if it has none there. */
export function lastValue({ data: { metrics, evaluations } }: RunMetrics, name: string): number | undefined {
  const end = (evaluations.at(-1) ?? metrics.at(-1))?.updates;
  return metrics.findLast(({ updates, values }) => updates === end && Number.isFinite(values[name]))?.values[
    name
  ];
}

const significant = (value: number) => String(Number(value.toPrecision(4)));

/** The value of each metric at the end of each run, empty where a run has none there. */
export function lastMetricsCsv(runs: readonly RunMetrics[], metrics: readonly string[]): string {
  const rows = runs.map((run) => [
    run.task,
    run.variant,
    run.seed,
    ...metrics.map((name) => {
      const value = lastValue(run, name);
      return value === undefined ? '' : significant(value);
    }),
  ]);
  const lines = [['task', 'variant', 'seed', ...metrics], ...rows].map((row) => row.join(','));
  return `${lines.join('\n')}\n`;
}

/** Every value of each metric of each run: the numbers behind the figures that draw them. */
export function metricCurvesCsv(runs: readonly RunMetrics[], metrics: readonly string[]): string {
  const rows = metrics.flatMap((name) =>
    runs.flatMap(({ task, variant, seed, data }) =>
      data.metrics.flatMap(({ steps, updates, values: { [name]: value } }) =>
        Number.isFinite(value) ? [[name, task, variant, seed, steps, updates, significant(value!)]] : [],
      ),
    ),
  );
  const head = ['metric', 'task', 'variant', 'seed', 'steps', 'updates', 'value'];
  return `${[head, ...rows].map((row) => row.join(',')).join('\n')}\n`;
}

/** For each task, a table with a row for each variant: the interquartile mean of each metric over seeds, with its range or interval. */
export function lastMetricsMarkdown(runs: readonly RunMetrics[], metrics: readonly string[]): string {
  const unique = (key: 'task' | 'variant') => [...new Set(runs.map((run) => run[key]))];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const short = (value: number) => String(Number(value.toPrecision(3)));
  const cell = (task: string, variant: string, name: string) => {
    const own = runs.filter((run) => run.task === task && run.variant === variant);
    const values = own.flatMap((run) => lastValue(run, name) ?? []);
    if (values.length === 0) return '';
    const { low, high } = scoreInterval([values], foldIn(foldIn(randomKey(0), variant), name));
    const spread = values.length > 1 ? ` (${short(low)} to ${short(high)})` : '';
    return `${short(interquartileMean(values))}${spread}`;
  };
  return unique('task')
    .map((task) =>
      [
        line([`${task}, at the end`, ...metrics.map((name) => `\`${name}\``)]),
        line(['---', ...metrics.map(() => '---')]),
        ...unique('variant')
          .filter((variant) => runs.some((run) => run.task === task && run.variant === variant))
          .map((variant) => line([variant, ...metrics.map((name) => cell(task, variant, name))])),
        '',
      ].join('\n'),
    )
    .join('\n');
}
