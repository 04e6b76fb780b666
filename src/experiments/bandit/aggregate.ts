import { foldIn, randomKey } from '../../core/random-keys.js';
import { bootstrapInterval, fewestForInterval, median } from '../../core/statistics.js';
import type { BanditResult, SearchTrace } from '../../learners/bandit/config.js';
import type { CmaEsResult, CmaEsSearch } from '../../python/cma-es.js';

/** The searches of the seeds as one line each, and how they ended. */

/** f by evaluations: the median over the seeds, and its interval. */
export interface Line {
  readonly method: string;
  readonly function: string;
  readonly evaluations: readonly number[];
  readonly median: readonly number[];
  /** The 95 % bootstrap interval of the median; the range of fewer than five seeds. */
  readonly low: readonly number[];
  readonly high: readonly number[];
}

/** How the searches of one method on one function ended. */
export interface Ending {
  readonly method: string;
  readonly function: string;
  /** f at the end, or where a search was lost, in the order of the seeds. */
  readonly values: readonly number[];
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** The median of the policies' standard deviations at the end, in half-widths of the domain. */
  readonly stddev?: number;
  readonly diverged: number;
  readonly collapsed: number;
}

/** The values of one search by evaluations, rising. */
interface Curve {
  readonly evaluations: readonly number[];
  readonly values: readonly number[];
}

/** Points that a line has at most. */
const linePoints = 41;

/** Three significant digits. */
export const rounded = (value: number): number =>
  Number.isFinite(value) ? Number(value.toPrecision(3)) : value;

/**
 * The median of values and its 95 % bootstrap interval, or the range if they are few. NaN counts as worse than any
 * other value.
 */
export function medianWithInterval(given: readonly number[], label: string) {
  const values = given.map((value) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : value));
  const center = median(values);
  const key = foldIn(randomKey(0), label);
  const [low, high] =
    values.length < fewestForInterval
      ? [Math.min(...values), Math.max(...values)]
      : bootstrapInterval([values], median, key, { draws: 500 });
  return { median: rounded(center), low: rounded(low), high: rounded(high) };
}

/** Indices of at most `count` of `length` points: the first, the last, and others at equal distances between them. */
export function spacedIndices(length: number, count: number): number[] {
  const last = length - 1;
  return [...new Set(Array.from({ length: count }, (_, i) => Math.round((last * i) / (count - 1))))];
}

/** The value of a curve after at most so many evaluations: a search that has ended stays where it is. */
function valueAfter({ evaluations, values }: Curve, count: number): number {
  const after = evaluations.findIndex((done) => done > count);
  return values[after < 0 ? values.length - 1 : Math.max(0, after - 1)]!;
}

function lineOf(method: string, fn: string, curves: readonly Curve[], grid: readonly number[]): Line {
  const at = grid.map((count) =>
    medianWithInterval(
      curves.map((curve) => valueAfter(curve, count)),
      `${method} ${fn} ${count}`,
    ),
  );
  return {
    method,
    function: fn,
    evaluations: grid,
    median: at.map((point) => point.median),
    low: at.map((point) => point.low),
    high: at.map((point) => point.high),
  };
}

/** Traces by method and function, in their order. */
function grouped(traces: readonly SearchTrace[]): SearchTrace[][] {
  const groups = new Map<string, SearchTrace[]>();
  for (const trace of traces) {
    const name = `${trace.method}\0${trace.function}`;
    groups.set(name, [...(groups.get(name) ?? []), trace]);
  }
  return [...groups.values()];
}

/** The evaluations at which lines have points. */
export function gridOf({ evaluations }: BanditResult): number[] {
  return spacedIndices(evaluations.length, linePoints).map((index) => evaluations[index]!);
}

/** A line for each method and function. */
export function linesOf(result: BanditResult): Line[] {
  const grid = gridOf(result);
  return grouped(result.traces).map((own) =>
    lineOf(
      own[0]!.method,
      own[0]!.function,
      own.map(({ points }) => ({
        evaluations: result.evaluations,
        values: points.map(({ value }) => value),
      })),
      grid,
    ),
  );
}

/** How the searches of each method and function ended. */
export function endingsOf({ traces }: BanditResult): Ending[] {
  return grouped(traces).map((own) => {
    const { method, function: fn } = own[0]!;
    const values = own.map(({ points }) => points[points.length - 1]!.value);
    const count = (outcome: SearchTrace['outcome']) =>
      own.filter((trace) => trace.outcome === outcome).length;
    return {
      method,
      function: fn,
      values: values.map(rounded),
      ...medianWithInterval(values, `${method} ${fn} end`),
      stddev: rounded(median(own.map(({ points }) => points[points.length - 1]!.stddev))),
      diverged: count('diverged'),
      collapsed: count('collapsed'),
    };
  });
}

/** The name of CMA-ES among methods. */
export const cmaEsName = 'CMA-ES';

/** The lines and endings of CMA-ES. @param grid the evaluations at which lines have points. */
export function cmaEsLines(
  searches: readonly CmaEsSearch[],
  { traces }: CmaEsResult,
  grid: readonly number[],
): { readonly lines: Line[]; readonly endings: Ending[] } {
  const functions = [...new Set(searches.map((search) => search.function))];
  const curves = (fn: string) =>
    searches.flatMap((search, i): Curve[] =>
      search.function === fn
        ? [{ evaluations: traces[i]!.map(([count]) => count), values: traces[i]!.map(([, value]) => value) }]
        : [],
    );
  return {
    lines: functions.map((fn) => lineOf(cmaEsName, fn, curves(fn), grid)),
    endings: functions.map((fn) => {
      // Less than nothing is the rounding of a sum.
      const values = curves(fn).map((curve) => Math.max(0, curve.values[curve.values.length - 1]!));
      return {
        method: cmaEsName,
        function: fn,
        values: values.map(rounded),
        ...medianWithInterval(values, `${cmaEsName} ${fn} end`),
        diverged: 0,
        collapsed: 0,
      };
    }),
  };
}
