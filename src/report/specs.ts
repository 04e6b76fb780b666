import type { TopLevelSpec } from 'vega-lite';
import { formatCount, formatNumber } from '../core/format.js';
import { capitalized, type JobTerms } from '../run/job-terms.js';
import {
  type CurvePoint,
  enoughSeeds,
  groupCurve,
  groupRuns,
  type MetricPoint,
  type SeedPoint,
  seedCurves,
  trendLines,
} from './curves.js';
import { type RunData, termsOf } from './run-data.js';
import { color, seriesColor } from './theme.js';

type Layer = Extract<TopLevelSpec, { layer: unknown }>['layer'][number];

const stepsAxis = {
  labelExpr: "datum.value === 0 ? '0' : format(datum.value, '~s')",
  tickCount: 6,
  labelFlush: true,
  // Without a canvas, Vega overestimates the width of text and would drop labels that fit.
  labelOverlap: false,
} as const;

/** Plain numbers as long as they are short: 1,000 and 0.015, but 2.5M and 1e-6. */
const numberLabels = labelsWith(3);

/** As above, with the digits that tell values of this spread apart. */
function labelsWith(digits: number): string {
  return `abs(datum.value) >= 1e4 ? format(datum.value, '~s') : abs(datum.value) >= 1000 ? format(datum.value, ',') : format(datum.value, '.${digits}~g')`;
}

/** The significant digits that tell apart the labels of an axis for these values. */
function digitsFor(values: readonly number[]): number {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const size = Math.max(Math.abs(low), Math.abs(high));
  return high > low ? Math.min(8, Math.max(3, Math.ceil(Math.log10(size / (high - low))) + 2)) : 3;
}

/** The x axis: steps from 0 to the last of these records. */
function stepsChannel<Axis>(records: readonly { readonly steps: number }[], axis: Axis) {
  const last = records.reduce((most, { steps }) => Math.max(most, steps), 1);
  return {
    field: 'steps',
    type: 'quantitative',
    axis,
    scale: { domain: [0, last] as number[], nice: false },
  } as const;
}

/** Fits the whole drawing, axes and legends included, into the given size, so that drawings line up. */
export function fitted({ width, height }: CurveSize) {
  return {
    width,
    height,
    autosize: { type: 'fit', contains: 'padding' },
    padding: { left: 2, right: 10, top: 4, bottom: 2 },
  } as const;
}

function colorScale(labels: readonly string[]) {
  return { domain: [...labels], range: labels.map((_, index) => seriesColor(index)) };
}

/** The bounds of the score axis. They include 0 if the scores start near it. */
function returnDomain(values: readonly number[]): [number, number] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (low > 0 && low < 0.5 * high) return [0, high];
  // Labels have three digits: a reach of less than a tenth would repeat them.
  const reach = Math.max(1, 0.1 * Math.abs(low));
  return low === high ? [low - reach, high + reach] : [low, high];
}

function describePoint(point: CurvePoint, seeds: number, terms: JobTerms): string {
  const at = `${formatCount(point.steps)} ${terms.steps}`;
  const middle = `${formatNumber(point.low)} to ${formatNumber(point.high)}`;
  const all = `${formatNumber(point.minimum)} to ${formatNumber(point.maximum)}`;
  if (seeds > 1 && seeds < enoughSeeds)
    return `${point.label} at ${at}: median ${formatNumber(point.center)} of ${point.count} seeds, all ${all}`;
  return seeds === 1
    ? `${point.label} at ${at}: mean ${terms.scoreName} ${formatNumber(point.center)} over ${point.count} ${terms.episodes}, middle half ${middle}, all ${all}`
    : `${point.label} at ${at}: median ${formatNumber(point.center)} of ${point.count} seeds, middle half ${middle}, all ${all}`;
}

/** Curves with more points than this show their marks only on hovering. */
const maxPointsShown = 40;

export interface CurveSize {
  readonly width: number;
  readonly height: number;
}

/** A chart in a card of a third of the page. */
export const smallChart: CurveSize = { width: 294, height: 206 };

/**
 * The chart of learning curves. For one run: the mean over episodes, with interquartile and min–max bands. For several
 * seeds: their median with its interquartile band, over a thin line for each seed. A run that diverged ends with a cross.
 */
export function learningCurve(runs: readonly RunData[], { width, height }: CurveSize): TopLevelSpec {
  const groups = groupRuns(runs);
  const terms = termsOf(runs);
  const labels = groups.map(({ label }) => label);
  const severalSeeds = groups.some((group) => group.runs.length > 1);
  const bands = !severalSeeds || groups.every((group) => group.runs.length >= enoughSeeds);
  const points = groups.flatMap((group) =>
    groupCurve(group).map((point) => ({
      ...point,
      description: describePoint(point, group.runs.length, terms),
    })),
  );
  const seeds: SeedPoint[] = seedCurves(runs);
  const diverged = runs.flatMap((run) => {
    if (run.status !== 'diverged') return [];
    const last = seeds.filter((point) => point.run === run.name && point.label === run.label).at(-1);
    return [{ label: run.label, steps: last?.steps ?? 0, meanScore: last?.meanScore ?? 0 }];
  });
  const shown = [
    ...points.flatMap(({ low, high, center }) => [low, high, center]),
    ...(severalSeeds
      ? seeds.map(({ meanScore }) => meanScore)
      : points.flatMap((p) => [p.minimum, p.maximum])),
    ...diverged.map(({ meanScore }) => meanScore),
  ];
  const y = (field: string) =>
    ({
      field,
      type: 'quantitative',
      title: capitalized(terms.scoreName),
      scale: { domain: returnDomain(shown.length > 0 ? shown : [0, 1]), nice: true, zero: false },
      axis: { labelExpr: numberLabels, tickCount: 6 },
    }) as const;
  const x = stepsChannel(
    runs.flatMap(({ evaluations }) => evaluations),
    { ...stepsAxis, title: terms.stepsTitle },
  );
  // The same in every layer, because Vega-Lite merges their legends and drops all of them if one has none.
  const series = {
    field: 'label',
    type: 'nominal',
    title: null,
    scale: colorScale(labels),
    legend: labels.length > 1 ? { symbolType: 'stroke', symbolOpacity: 1, symbolFillColor: null } : null,
  } as const;
  const band = (low: string, high: string, opacity: number): Layer => ({
    mark: { type: 'area', opacity, line: false, interpolate: 'linear' },
    encoding: { x, y: y(low), y2: { field: high }, color: series },
  });
  const layers: Layer[] = [
    ...(severalSeeds
      ? [
          {
            data: {
              values: seeds.filter(({ label }) => groups.some((g) => g.label === label && g.runs.length > 1)),
            },
            mark: {
              type: 'line',
              strokeWidth: bands ? 1 : 1.3,
              opacity: bands ? 0.45 : 0.75,
              strokeDash: bands ? [1, 0] : [5, 3],
              interpolate: 'linear',
            },
            encoding: { x, y: y('meanScore'), color: series, detail: { field: 'run' } },
          } as Layer,
        ]
      : labels.length === 1
        ? [band('minimum', 'maximum', 0.1)]
        : []),
    ...(bands ? [band('low', 'high', 0.18)] : []),
    {
      mark: {
        type: 'line',
        strokeWidth: 2.5,
        interpolate: 'linear',
        strokeJoin: 'round',
        strokeCap: 'round',
      },
      encoding: { x, y: y('center'), color: series },
    },
    {
      mark: { type: 'circle', size: 36, opacity: points.length <= maxPointsShown * labels.length ? 1 : 0 },
      encoding: {
        x,
        y: y('center'),
        color: series,
        description: { field: 'description', type: 'nominal' },
      },
    },
    ...(diverged.length > 0
      ? [
          {
            data: { values: diverged },
            mark: {
              type: 'point',
              shape: 'M-.5,-.5L.5,.5M-.5,.5L.5,-.5',
              size: 130,
              strokeWidth: 2.5,
              opacity: 1,
            },
            encoding: { x, y: y('meanScore'), color: series },
          } as Layer,
          {
            data: { values: diverged },
            mark: {
              type: 'text',
              text: 'diverged',
              dx: 12,
              align: 'left',
              fontSize: 11,
              fill: color('muted'),
            },
            encoding: { x, y: y('meanScore') },
          } as Layer,
        ]
      : []),
  ];
  return {
    ...fitted({ width, height }),
    data: { values: points },
    layer: layers,
  } as TopLevelSpec;
}

export interface MetricChart {
  readonly title: string;
  readonly subtitle?: string;
  readonly points: readonly MetricPoint[];
  /** Colors distinguish the metrics of one run, or the labels of several runs. */
  readonly by: 'metric' | 'label';
  /** Every value of `by`, in the order of their colors. */
  readonly domain: readonly string[];
  /** True if the values are shares, so that the axis goes from 0 to 1. */
  readonly share?: boolean;
}

/** True if the values are positive and the middle 90 % of them spread over more than a factor of 100. */
function wantsLog(values: readonly number[]): boolean {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  return sorted.length > 0 && sorted[0]! > 0 && at(0.95) / at(0.05) > 100;
}

function valueScale(values: readonly number[], log: boolean, share: boolean) {
  if (share) return { domain: [0, 1] };
  if (log) return { type: 'log' } as const;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  // A constant line is drawn in the middle of the axis.
  const reach = Math.abs(low) / 2 || 1;
  return { zero: false, nice: true, ...(low === high ? { domain: [low - reach, low + reach] } : {}) };
}

/** A small chart of metrics over steps: recorded values in faint lines, their trend in bold ones. */
export function metricChart(chart: MetricChart, size: CurveSize): TopLevelSpec {
  const { title, subtitle, points, by, domain, share = false } = chart;
  const values = points.map(({ value }) => value);
  const log = wantsLog(values);
  const subtitles = [subtitle, log ? 'logarithmic' : undefined].filter((text) => text !== undefined);
  const legend =
    by === 'metric' && domain.length > 1
      ? ({
          symbolType: 'stroke',
          symbolOpacity: 1,
          labelFontSize: 10.5,
          columnPadding: 7,
          symbolSize: 70,
        } as const)
      : null;
  const encoding = {
    x: stepsChannel(points, { ...stepsAxis, title: null, tickCount: 4 }),
    y: {
      field: 'value',
      type: 'quantitative',
      title: null,
      axis: log ? { format: '~g', tickCount: 4 } : { labelExpr: labelsWith(digitsFor(values)), tickCount: 4 },
      scale: valueScale(values, log, share),
    },
    color: {
      field: by,
      type: 'nominal',
      title: null,
      scale: colorScale(domain),
      legend,
    },
    // Shares often coincide; dashes keep both lines visible.
    ...(share && by === 'metric'
      ? {
          strokeDash: {
            field: by,
            type: 'nominal',
            scale: {
              domain: [...domain],
              range: [
                [1, 0],
                [5, 4],
              ],
            },
            legend,
          },
        }
      : {}),
    detail: { field: 'run' },
  } as const;
  return {
    ...fitted(size),
    title: { text: title, ...(subtitles.length > 0 ? { subtitle: subtitles.join(', ') } : {}) },
    encoding,
    layer: [
      { data: { values: [...points] }, mark: { type: 'line', strokeWidth: 1, opacity: 0.22 } },
      {
        data: { values: trendLines(points) },
        mark: {
          type: 'line',
          strokeWidth: 2,
          strokeJoin: 'round',
          strokeCap: 'butt',
          // A line of one point would not be seen.
          point: new Set(points.map(({ steps }) => steps)).size === 1,
        },
      },
    ],
  } as TopLevelSpec;
}
