import type { TopLevelSpec } from 'vega-lite';
import { capitalized, type JobTerms } from '../run/job-terms.js';
import { type CurveSize, fitted } from './specs.js';

/** One line of a panel: an aggregate with its band, over thin lines for the single runs. */
export interface CurveSeries {
  readonly label: string;
  readonly color: string;
  readonly points: readonly {
    readonly x: number;
    readonly center: number;
    readonly low: number;
    readonly high: number;
  }[];
  readonly runs: readonly {
    readonly diverged: boolean;
    readonly points: readonly { readonly x: number; readonly value: number }[];
  }[];
}

/** The largest return of DM Control's tasks. An axis that comes near it extends to it. */
const largestReturn = 1000;

/** A cross. */
const divergedShape = 'M-.5,-.5L.5,.5M-.5,.5L.5,-.5';

type Layer = Extract<TopLevelSpec, { layer: unknown }>['layer'][number];

/** Where the runs that diverged ended: at 0 before any score. */
function divergedEnds(series: readonly CurveSeries[]) {
  return series.flatMap(({ label, runs }) =>
    runs
      .filter((run) => run.diverged)
      .map((run) => ({ label, ...(run.points.at(-1) ?? { x: 0, value: 0 }) })),
  );
}

/** Gives each line its color. */
const coloredBy = (series: readonly CurveSeries[]) =>
  ({
    field: 'label',
    type: 'nominal',
    scale: { domain: series.map(({ label }) => label), range: series.map(({ color }) => color) },
    legend: null,
  }) as const;

/** The words in the titles of the axes. */
type PanelTerms = Pick<JobTerms, 'stepsTitle'> & { readonly scoreName: string };

/** A small chart of the last scores of lines that have one point each: a row for each line, with its interval and its single runs. */
export function finalPanel(
  { series, terms }: { readonly series: readonly CurveSeries[]; readonly terms: PanelTerms },
  size: CurveSize,
): TopLevelSpec {
  const labels = series.map(({ label }) => label);
  const colored = coloredBy(series);
  const y = {
    field: 'label',
    type: 'nominal',
    // A line without a score keeps its row.
    scale: { domain: labels },
    sort: labels,
    title: null,
    axis: { ticks: false, labelLimit: size.width / 2 },
  } as const;
  const x = (field: string) =>
    ({
      field,
      type: 'quantitative',
      title: capitalized(terms.scoreName),
      scale: { zero: true, nice: true },
      axis: { tickCount: 5, grid: true },
    }) as const;
  const centers = series.flatMap(({ label, points }) => points.map((point) => ({ ...point, label })));
  const single = series.flatMap(({ label, runs }) =>
    runs.flatMap(({ points, diverged }) => (diverged ? [] : points.map(({ value }) => ({ value, label })))),
  );
  const layers = [
    {
      data: { values: single },
      mark: { type: 'tick', thickness: 1.2, size: 9, opacity: 0.55 },
      encoding: { y, x: x('value'), color: colored },
    },
    {
      data: { values: centers },
      mark: { type: 'rule', strokeWidth: 2.2 },
      encoding: { y, x: x('low'), x2: { field: 'high' }, color: colored },
    },
    {
      data: { values: centers },
      mark: { type: 'point', filled: true, size: 64, opacity: 1 },
      encoding: { y, x: x('center'), color: colored },
    },
    {
      data: { values: divergedEnds(series) },
      mark: { type: 'point', shape: divergedShape, size: 90, strokeWidth: 2.2, opacity: 1 },
      encoding: { y, x: x('value'), color: colored },
    },
  ] as Layer[];
  return { ...fitted(size), layer: layers } as TopLevelSpec;
}

/** A small chart of learning curves without a legend. With `share`, x is the share of all steps, from 0 to 1. */
export function curvePanel(
  {
    series,
    share,
    terms,
  }: {
    readonly series: readonly CurveSeries[];
    readonly share: boolean;
    /** The terms for the titles of the axes. */
    readonly terms: PanelTerms;
  },
  size: CurveSize,
): TopLevelSpec {
  const values = series.flatMap(({ points, runs }) => [
    ...points.flatMap(({ center, low, high }) => [center, low, high]),
    ...runs.flatMap((run) => run.points.map(({ value }) => value)),
  ]);
  const top = values.length > 0 ? Math.max(...values) : 1;
  const xs = series.flatMap(({ points }) => points.map(({ x }) => x));
  const colored = coloredBy(series);
  const x = {
    field: 'x',
    type: 'quantitative',
    title: share ? "Share of each task's steps" : terms.stepsTitle,
    scale: { domain: [0, Math.max(...xs, share ? 1 : 0)] as number[], nice: false },
    axis: share ? { format: '.0%', tickCount: 4 } : { format: '~s', tickCount: 5 },
  } as const;
  const y = (field: string) =>
    ({
      field,
      type: 'quantitative',
      title: capitalized(terms.scoreName),
      scale: {
        domain: [Math.min(0, ...values), top > 0.7 * largestReturn ? largestReturn : top] as number[],
        nice: true,
      },
      axis: { tickCount: 5 },
    }) as const;
  const points = series.flatMap(({ label, points: own }) => own.map((point) => ({ ...point, label })));
  const single = series.flatMap(({ label, runs }) =>
    runs.flatMap((run, index) => run.points.map((point) => ({ ...point, label, run: `${label} ${index}` }))),
  );
  const layers = [
    {
      data: { values: single },
      mark: { type: 'line', strokeWidth: 0.8, opacity: 0.4 },
      encoding: { x, y: y('value'), color: colored, detail: { field: 'run' } },
    },
    {
      data: { values: points },
      mark: { type: 'area', opacity: 0.14 },
      encoding: { x, y: y('low'), y2: { field: 'high' }, color: colored },
    },
    {
      data: { values: points },
      mark: { type: 'line', strokeWidth: 2.2, strokeJoin: 'round', strokeCap: 'round' },
      encoding: { x, y: y('center'), color: colored },
    },
    {
      data: { values: divergedEnds(series) },
      mark: {
        type: 'point',
        shape: divergedShape,
        size: 110,
        strokeWidth: 2.4,
        opacity: 1,
      },
      encoding: { x, y: y('value'), color: colored },
    },
  ] as Layer[];
  return { ...fitted(size), layer: layers } as TopLevelSpec;
}
