import type { TopLevelSpec } from 'vega-lite';
import { formatCount, formatNumber } from '../run/format.js';
import {
  type CurvePoint,
  groupCurve,
  groupRuns,
  type MetricPoint,
  type SeedPoint,
  seedCurves,
} from './curves.js';
import type { RunData } from './run-data.js';
import { color, seriesColor } from './theme.js';

type Layer = Extract<TopLevelSpec, { layer: unknown }>['layer'][number];

const stepsAxis = { title: 'Environment steps', format: '~s', tickCount: 6, labelFlush: true } as const;

function colorScale(labels: readonly string[]) {
  return { domain: [...labels], range: labels.map((_, index) => seriesColor(index)) };
}

/** Bounds of the return axis: 0 is shown where the returns start near it. */
function returnDomain(values: readonly number[]): [number, number] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (low > 0 && low < 0.5 * high) return [0, high];
  return low === high ? [low - 1, high + 1] : [low, high];
}

function describePoint(point: CurvePoint, single: boolean): string {
  const at = `${formatCount(point.environmentSteps)} steps`;
  const middle = `${formatNumber(point.low)} to ${formatNumber(point.high)}`;
  const all = `${formatNumber(point.minimum)} to ${formatNumber(point.maximum)}`;
  return single
    ? `${point.label} at ${at}: mean return ${formatNumber(point.center)} over ${point.count} episodes, middle half ${middle}, all ${all}`
    : `${point.label} at ${at}: median ${formatNumber(point.center)} of ${point.count} seeds, middle half ${middle}, all ${all}`;
}

export interface CurveSize {
  readonly width: number;
  readonly height: number;
}

/**
 * The learning curve. One run: the mean over episodes in its interquartile and min–max bands. Several seeds: their
 * median in its interquartile band over thin lines of each seed. A run that diverged ends with a cross.
 */
export function learningCurve(runs: readonly RunData[], { width, height }: CurveSize): TopLevelSpec {
  const groups = groupRuns(runs);
  const labels = groups.map(({ label }) => label);
  const severalSeeds = groups.some((group) => group.runs.length > 1);
  const points = groups.flatMap((group) =>
    groupCurve(group).map((point) => ({
      ...point,
      description: describePoint(point, group.runs.length === 1),
    })),
  );
  const seeds: SeedPoint[] = seedCurves(runs);
  const diverged = runs.flatMap((run) => {
    if (run.status !== 'diverged') return [];
    const last = seeds.filter((point) => point.run === run.name && point.label === run.label).at(-1);
    return [
      { label: run.label, environmentSteps: last?.environmentSteps ?? 0, meanReturn: last?.meanReturn ?? 0 },
    ];
  });
  const shown = [
    ...points.flatMap(({ low, high, center }) => [low, high, center]),
    ...(severalSeeds
      ? seeds.map(({ meanReturn }) => meanReturn)
      : points.flatMap((p) => [p.minimum, p.maximum])),
    ...diverged.map(({ meanReturn }) => meanReturn),
  ];
  const y = (field: string) =>
    ({
      field,
      type: 'quantitative',
      title: 'Return',
      scale: { domain: returnDomain(shown.length > 0 ? shown : [0, 1]), nice: true, zero: false },
      axis: { format: '~s', tickCount: 6 },
    }) as const;
  const x = {
    field: 'environmentSteps',
    type: 'quantitative',
    axis: stepsAxis,
    scale: { nice: false },
  } as const;
  const series = (legend: boolean) =>
    ({
      field: 'label',
      type: 'nominal',
      title: null,
      scale: colorScale(labels),
      ...(legend && labels.length > 1 ? { legend: { symbolType: 'stroke' } } : { legend: null }),
    }) as const;
  const band = (low: string, high: string, opacity: number): Layer => ({
    mark: { type: 'area', opacity, line: false, interpolate: 'monotone' },
    encoding: { x, y: y(low), y2: { field: high }, color: series(false) },
  });
  const layers: Layer[] = [
    ...(severalSeeds
      ? [
          {
            data: {
              values: seeds.filter(({ label }) => groups.some((g) => g.label === label && g.runs.length > 1)),
            },
            mark: { type: 'line', strokeWidth: 1, opacity: 0.45, interpolate: 'monotone' },
            encoding: { x, y: y('meanReturn'), color: series(false), detail: { field: 'run' } },
          } as Layer,
        ]
      : labels.length === 1
        ? [band('minimum', 'maximum', 0.1)]
        : []),
    band('low', 'high', 0.18),
    {
      mark: {
        type: 'line',
        strokeWidth: 2.5,
        interpolate: 'monotone',
        strokeJoin: 'round',
        strokeCap: 'round',
      },
      encoding: { x, y: y('center'), color: series(true) },
    },
    {
      mark: { type: 'circle', size: 70, opacity: 0 },
      encoding: {
        x,
        y: y('center'),
        color: series(false),
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
            encoding: { x, y: y('meanReturn'), color: series(false) },
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
            encoding: { x, y: y('meanReturn') },
          } as Layer,
        ]
      : []),
  ];
  return {
    width,
    height,
    padding: { left: 4, right: 14, top: 4, bottom: 4 },
    data: { values: points },
    layer: layers,
  } as TopLevelSpec;
}

export interface MetricChart {
  readonly title: string;
  readonly subtitle?: string;
  readonly points: readonly MetricPoint[];
  /** What has a colour: the metrics of one run, or the labels of several. */
  readonly by: 'metric' | 'label';
  /** Every value of `by`, in the order of their colours. */
  readonly domain: readonly string[];
}

/** A logarithmic axis where values are positive and most of them lie more than a factor of 100 apart. */
function wantsLog(values: readonly number[]): boolean {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  return sorted.length > 0 && sorted[0]! > 0 && at(0.95) / at(0.05) > 100;
}

/** A small chart of one quantity over environment steps. */
export function metricChart(
  { title, subtitle, points, by, domain }: MetricChart,
  size: CurveSize,
): TopLevelSpec {
  const values = points.map(({ value }) => value);
  const log = wantsLog(values);
  const runs = new Set(points.map(({ run }) => run)).size;
  const flat = Math.min(...values) === Math.max(...values);
  const single = flat ? { domain: [values[0]! - 1, values[0]! + 1] } : {};
  const subtitles = [subtitle, log ? 'logarithmic' : undefined].filter((text) => text !== undefined);
  return {
    ...size,
    padding: { left: 4, right: 10, top: 4, bottom: 4 },
    title: { text: title, ...(subtitles.length > 0 ? { subtitle: subtitles.join(', ') } : {}) },
    data: { values: points as MetricPoint[] },
    mark: {
      type: 'line',
      strokeWidth: runs > 1 ? 1.2 : 1.75,
      opacity: runs > 1 ? 0.8 : 1,
      strokeJoin: 'round',
    },
    encoding: {
      x: {
        field: 'environmentSteps',
        type: 'quantitative',
        axis: { ...stepsAxis, title: null, tickCount: 4 },
        scale: { nice: false },
      },
      y: {
        field: 'value',
        type: 'quantitative',
        title: null,
        axis: { format: log ? '.0e' : '~s', tickCount: 4 },
        scale: log ? { type: 'log' } : { zero: false, nice: true, ...single },
      },
      color: {
        field: by,
        type: 'nominal',
        title: null,
        scale: colorScale(domain),
        legend: by === 'metric' && domain.length > 1 ? { symbolType: 'stroke', labelFontSize: 11 } : null,
      },
      detail: { field: 'run' },
    },
  };
}
