import { foldIn, randomKey } from '../core/random-keys.js';
import { bootstrapInterval, interquartileMean, mean } from '../core/statistics.js';
import { type CurveSeries, curvePanel, finalPanel } from './curve-panel.js';
import { drawFigure, panelSize } from './figure-layout.js';
import { type RunData, termsOf } from './run-data.js';
import { seriesColor } from './theme.js';

/**
 * Figures of several panels with one legend. Each panel shows learning curves on one task, or aggregated over several
 * tasks.
 */

/** The runs of one line, by task. */
export interface PanelLine {
  readonly label: string;
  readonly runs: Readonly<Record<string, readonly RunData[]>>;
}

export interface FigurePanel {
  readonly title: string;
  readonly lines: readonly PanelLine[];
}

export interface Figure {
  readonly title: string;
  /** The name of a metric in metrics.jsonl. Absent: the score of the evaluations. */
  readonly metric?: string;
  readonly panels: readonly FigurePanel[];
}

/** A point of an aggregated line. */
export interface AggregatePoint {
  /** Steps; for several tasks, which may differ in length, the share of each task's steps. */
  readonly x: number;
  /** Interquartile mean over seeds and tasks. */
  readonly center: number;
  /** 95 % bootstrap interval, stratified by task. For a single seed, both bounds are `center`. */
  readonly low: number;
  readonly high: number;
}

/**
 * The mean score of a run at each of its evaluations, or the values of one of its metrics, by step. Values that are not
 * finite count as 0, the worst score that a task gives.
 */
function series(run: RunData, metric: string | undefined): Map<number, number> {
  if (metric !== undefined) {
    return new Map(
      run.metrics.flatMap(({ steps, values }) => {
        const value = values[metric];
        return value === undefined ? [] : [[steps, Number.isFinite(value) ? value : 0]];
      }),
    );
  }
  return new Map(
    run.evaluations.map(({ steps, scores }) => {
      const value = mean(scores);
      return [steps, Number.isFinite(value) ? value : 0];
    }),
  );
}

/**
 * Aggregates the runs of a line: at each evaluation that some run reached, the interquartile mean over runs and tasks. A
 * run that diverged continues to count, with a score of 0, because leaving it out would flatter the line.
 */
export function aggregate({ label, runs }: PanelLine, metric?: string): AggregatePoint[] {
  const tasks = Object.values(runs).filter(({ length }) => length > 0);
  if (tasks.length === 0) return [];
  const curves = tasks.map((own) =>
    own.map((run) => ({ values: series(run, metric), diverged: run.status === 'diverged' })),
  );
  const steps = curves.map((own) =>
    [...new Set(own.flatMap(({ values }) => [...values.keys()]))].sort((a, b) => a - b),
  );
  const count = Math.min(...steps.map(({ length }) => length));
  const key = foldIn(randomKey(0), label);
  return Array.from({ length: count }, (_, i) => {
    // Tasks of different lengths are aligned by the share of their evaluations.
    const at = steps.map((own) => own[Math.ceil(((i + 1) * own.length) / count) - 1]!);
    const strata = curves.map((own, task) =>
      own.flatMap(({ values, diverged }) => values.get(at[task]!) ?? (diverged ? 0 : [])),
    );
    const [low, high] = bootstrapInterval(strata, interquartileMean, foldIn(key, i), { draws: 1000 });
    const x = tasks.length === 1 ? at[0]! : (i + 1) / count;
    return { x, center: interquartileMean(strata.flat()), low, high };
  }).filter(({ center }) => Number.isFinite(center));
}

/** The title of an axis for a metric: `win rate` for `evaluation/winRate`. */
function metricName(metric: string): string {
  const last = metric.split('/').at(-1) ?? metric;
  return last.replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function panelSeries({ lines }: FigurePanel, metric: string | undefined) {
  const share = lines.some(({ runs }) => Object.keys(runs).length > 1);
  return {
    share,
    terms: {
      ...termsOf(lines.flatMap(({ runs }) => Object.values(runs).flat())),
      ...(metric === undefined ? {} : { scoreName: metricName(metric) }),
    },
    series: lines.map(
      (line, index): CurveSeries => ({
        label: line.label,
        color: seriesColor(index),
        points: aggregate(line, metric),
        // On an axis of shares, the steps of single runs have no meaning.
        runs: share
          ? []
          : Object.values(line.runs)
              .flat()
              .map((run) => ({
                diverged: run.status === 'diverged',
                points: [...series(run, metric)].map(([x, value]) => ({ x, value })),
              })),
      }),
    ),
  };
}

/** Whether every line of a panel has at most one point, so that there is no curve to draw. */
const hasOnlyEnds = ({ series }: ReturnType<typeof panelSeries>) =>
  series.every(({ points, runs }) => points.length <= 1 && runs.every((run) => run.points.length <= 1));

/**
 * Draws a figure as one SVG file, which follows the light or dark mode of the reader: learning curves, or, where runs were evaluated
 * once, their scores. Scores of several tasks are not put together then, because each task has its own scale.
 */
export function renderFigureSvg({ title, metric, panels }: Figure): Promise<string> {
  const all = panels.map((panel) => ({ title: panel.title, ...panelSeries(panel, metric) }));
  const single = all.filter(({ share }) => !share);
  if (single.some(({ series }) => series.some(({ points }) => points.length > 0)) && all.every(hasOnlyEnds)) {
    return drawFigure({
      title,
      legend: [],
      panels: single.map((panel) => ({ title: panel.title, spec: finalPanel(panel, panelSize) })),
    });
  }
  const labels = [...new Set(panels.flatMap(({ lines }) => lines.map(({ label }) => label)))];
  return drawFigure({
    title,
    legend: labels.map((label, index) => ({ label, color: seriesColor(index) })),
    panels: all.map((panel) => ({ title: panel.title, spec: curvePanel(panel, panelSize) })),
  });
}
