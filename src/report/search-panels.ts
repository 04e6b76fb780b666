import type { TopLevelSpec } from 'vega-lite';
import type { ContourLine } from './contours.js';
import type { LegendItem, PanelSize } from './figure-layout.js';
import { fitted } from './specs.js';
import { color } from './theme.js';

/** The panels of searches for the minimum of functions: curves of the value, paths over contours, and maps of stability. */

type Layer = Extract<TopLevelSpec, { layer: unknown }>['layer'][number];

function coloredBy(legend: readonly LegendItem[]) {
  const scale = {
    domain: legend.map(({ label }) => label),
    range: legend.map((item) => item.color),
  };
  return { field: 'label', type: 'nominal', scale, legend: null } as const;
}

/** The powers of ten within bounds that are such, at most seven of them. */
function powersOfTen([low, high]: readonly [number, number]): number[] {
  const [first, last] = [Math.round(Math.log10(low)), Math.round(Math.log10(high))];
  const step = Math.max(1, Math.ceil((last - first) / 6));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => 10 ** (first + i * step));
}

/** The values of a line by evaluations: the middle of the seeds with its interval. */
export interface SearchCurve {
  readonly label: string;
  readonly points: readonly {
    readonly evaluations: number;
    readonly center: number;
    readonly low: number;
    readonly high: number;
  }[];
}

/** Curves of which the values have a logarithmic axis. Values outside of `values` are drawn at its bounds. */
export function searchPanel(
  curves: readonly SearchCurve[],
  legend: readonly LegendItem[],
  { values, evaluations }: { readonly values: readonly [number, number]; readonly evaluations: number },
  size: PanelSize,
): TopLevelSpec {
  const [least, most] = values;
  const within = (value: number) => Math.min(most, Math.max(least, Number.isNaN(value) ? most : value));
  const points = curves.flatMap(({ label, points: own }) =>
    own.map(({ evaluations: count, center, low, high }) => ({
      label,
      x: count,
      center: within(center),
      low: within(low),
      high: within(high),
    })),
  );
  const x = {
    field: 'x',
    type: 'quantitative',
    title: 'Evaluations of f',
    scale: { domain: [0, evaluations] as number[], nice: false },
    axis: { labelExpr: "datum.value === 0 ? '0' : format(datum.value, '~s')", tickCount: 4 },
  } as const;
  const y = (field: string) =>
    ({
      field,
      type: 'quantitative',
      title: 'f at the policy’s mode',
      scale: { type: 'log', domain: [...values] as number[], nice: false },
      axis: { format: '.0e', values: powersOfTen(values) },
    }) as const;
  const colored = coloredBy(legend);
  const layers = [
    {
      mark: { type: 'area', opacity: 0.14 },
      encoding: { x, y: y('low'), y2: { field: 'high' }, color: colored },
    },
    {
      mark: { type: 'line', strokeWidth: 2, strokeJoin: 'round', strokeCap: 'round' },
      encoding: { x, y: y('center'), color: colored },
    },
  ] as Layer[];
  return { ...fitted(size), data: { values: points }, layer: layers } as TopLevelSpec;
}

/** The path of one search. */
export interface SearchPath {
  readonly label: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** Paths over the contour lines of a function of two variables, whose minimum is a cross. */
export function contourPanel(
  {
    lines,
    paths,
    minimum,
    domain,
  }: {
    readonly lines: readonly ContourLine[];
    readonly paths: readonly SearchPath[];
    readonly minimum: { readonly x: number; readonly y: number };
    readonly domain: readonly [number, number];
  },
  legend: readonly LegendItem[],
  size: PanelSize,
): TopLevelSpec {
  const axis = (field: 'x' | 'y') =>
    ({
      field,
      type: 'quantitative',
      title: null,
      scale: { domain: [...domain] as number[], nice: false, zero: false },
      axis: { tickCount: 5, grid: false },
    }) as const;
  const [x, y] = [axis('x'), axis('y')];
  const ordered = { field: 'step', type: 'quantitative' } as const;
  const colored = coloredBy(legend);
  const contours = lines.flatMap(({ points }, line) =>
    points.map((point, step) => ({ ...point, line, step })),
  );
  const path = paths.flatMap(({ label, points }) => points.map((point, step) => ({ ...point, label, step })));
  const ends = paths.flatMap(({ label, points }) => points.slice(-1).map((point) => ({ ...point, label })));
  const starts = paths.flatMap(({ points }) => points.slice(0, 1));
  const layers = [
    {
      data: { values: contours },
      mark: { type: 'line', strokeWidth: 0.8, stroke: color('muted'), opacity: 0.55, clip: true },
      encoding: { x, y, order: ordered, detail: { field: 'line' } },
    },
    {
      data: { values: path },
      mark: { type: 'line', strokeWidth: 1.6, strokeJoin: 'round', clip: true },
      encoding: { x, y, order: ordered, color: colored },
    },
    {
      data: { values: starts },
      mark: {
        type: 'point',
        shape: 'circle',
        size: 60,
        stroke: color('ink'),
        strokeWidth: 1.6,
        opacity: 1,
        clip: true,
      },
      encoding: { x, y },
    },
    {
      data: { values: ends },
      mark: { type: 'circle', size: 55, opacity: 1, clip: true },
      encoding: { x, y, color: colored },
    },
    {
      data: { values: [minimum] },
      mark: {
        type: 'point',
        shape: 'cross',
        angle: 45,
        size: 90,
        fill: color('ink'),
        stroke: null,
        opacity: 1,
      },
      encoding: { x, y },
    },
  ] as Layer[];
  return { ...fitted(size), layer: layers } as TopLevelSpec;
}

/** What became of the searches with one pair of settings. */
export interface StabilityCell {
  readonly alpha: number;
  readonly beta: number;
  /** The median of f at the end over the searches that were not lost; undefined if all were. */
  readonly value: number | undefined;
  /** The share of searches that were lost, in [0, 1]. */
  readonly lost: number;
}

/** The bounds of the cells around sorted positions: the middles between neighbours, and as far beyond the first and last. */
export function cellBounds(positions: readonly number[]): number[] {
  const middles = positions.slice(1).map((position, i) => (position + positions[i]!) / 2);
  const first = positions[0]!;
  const last = positions[positions.length - 1]!;
  const [below, above] = [middles[0] ?? first + 0.5, middles[middles.length - 1] ?? last - 0.5];
  return [2 * first - below, ...middles, 2 * last - above];
}

/**
 * The map of PMPO's settings α and β: the value that searches end at, a cross where more than half of them are lost, and a dot where some
 * are. Above the dashed line, β = (1 − α)/ρ, the loss is a weighted maximum likelihood; at the dotted one, β = 1 − 2α, the weights on
 * log-likelihoods add up to 0.
 * @param rejectShare ρ
 */
export function stabilityPanel(
  cells: readonly StabilityCell[],
  { rejectShare, values }: { readonly rejectShare: number; readonly values: readonly [number, number] },
  size: PanelSize,
): TopLevelSpec {
  const positions = (of: (cell: StabilityCell) => number) =>
    [...new Set(cells.map(of))].sort((a, b) => a - b);
  const [alphas, betas] = [positions(({ alpha }) => alpha), positions(({ beta }) => beta)];
  const [alphaBounds, betaBounds] = [cellBounds(alphas), cellBounds(betas)];
  const [least, most] = values;
  const rows = cells.map(({ alpha, beta, value, lost }) => {
    const [i, j] = [alphas.indexOf(alpha), betas.indexOf(beta)];
    return {
      alpha,
      beta,
      left: alphaBounds[i]!,
      right: alphaBounds[i + 1]!,
      bottom: betaBounds[j]!,
      top: betaBounds[j + 1]!,
      lost,
      value: value === undefined ? most : Math.min(most, Math.max(least, value)),
    };
  });
  const x = {
    type: 'quantitative',
    title: 'α',
    scale: {
      domain: [alphaBounds[0]!, alphaBounds[alphaBounds.length - 1]!] as number[],
      nice: false,
      zero: false,
    },
    axis: { values: [0, 0.25, 0.5, 0.75, 1] as number[], format: '.2~f', grid: false },
  } as const;
  const y = {
    type: 'quantitative',
    title: 'β',
    scale: {
      domain: [betaBounds[0]!, betaBounds[betaBounds.length - 1]!] as number[],
      nice: false,
      zero: false,
    },
    axis: { tickCount: 5, grid: false },
  } as const;
  const safe = [0, 1].map((alpha) => ({ alpha, beta: (1 - alpha) / rejectShare }));
  const unbounded = [0, 0.5].map((alpha) => ({ alpha, beta: 1 - 2 * alpha }));
  const sound = rows.filter(({ lost }) => lost <= 0.5);
  const layers = [
    {
      data: { values: sound },
      mark: { type: 'rect', stroke: null },
      encoding: {
        x: { ...x, field: 'left' },
        x2: { field: 'right' },
        y: { ...y, field: 'bottom' },
        y2: { field: 'top' },
        color: {
          field: 'value',
          type: 'quantitative',
          scale: { type: 'log', domain: [...values] as number[], scheme: 'viridis', reverse: true },
          legend: {
            title: 'f at the end',
            orient: 'right',
            direction: 'vertical',
            format: '.0e',
            gradientLength: size.height - 70,
            values: powersOfTen(values),
          },
        },
      },
    },
    {
      data: { values: rows.filter(({ lost }) => lost > 0.5) },
      mark: {
        type: 'point',
        shape: 'M-.5,-.5L.5,.5M-.5,.5L.5,-.5',
        size: 45,
        strokeWidth: 1.4,
        stroke: color('bad'),
        opacity: 1,
      },
      encoding: { x: { ...x, field: 'alpha' }, y: { ...y, field: 'beta' } },
    },
    {
      data: { values: sound.filter(({ lost }) => lost > 0) },
      mark: { type: 'circle', size: 22, fill: color('bad'), opacity: 1 },
      encoding: { x: { ...x, field: 'alpha' }, y: { ...y, field: 'beta' } },
    },
    {
      data: { values: safe },
      mark: { type: 'line', strokeWidth: 2.4, stroke: color('ink'), strokeDash: [6, 4], clip: true },
      encoding: { x: { ...x, field: 'alpha' }, y: { ...y, field: 'beta' } },
    },
    {
      data: { values: unbounded },
      mark: { type: 'line', strokeWidth: 2.4, stroke: color('ink'), strokeDash: [1.5, 4], clip: true },
      encoding: { x: { ...x, field: 'alpha' }, y: { ...y, field: 'beta' } },
    },
  ] as Layer[];
  return { ...fitted(size), layer: layers } as TopLevelSpec;
}
