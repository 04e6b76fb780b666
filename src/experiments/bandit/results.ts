import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '../../engine/tf.js';
import { type BenchmarkFunction, benchmarkFunction } from '../../learners/bandit/functions.js';
import { contourLines } from '../../report/contours.js';
import { drawFigure, type LegendItem, panelSize } from '../../report/figure-layout.js';
import { contourPanel, searchPanel, stabilityPanel } from '../../report/search-panels.js';
import { seriesColor } from '../../report/theme.js';
import { writeAtomically } from '../../system/atomic-file.js';
import { cmaEsName, type Ending } from './aggregate.js';
import type { MadeBanditStudy, MadePath, MadeSearch, MadeStability } from './make-bandit-study.js';
import { banditTables } from './tables.js';

/** Writes the figures, the tables and the data of a study of bandits. */

/** Values below this are drawn at it: what float32 leaves of a sum. */
const least = 1e-8;

/** The powers of ten around values that are positive and finite. */
function decades(values: readonly number[]): [number, number] {
  const logarithms = values.flatMap((value) =>
    value > 0 && Number.isFinite(value) ? [Math.log10(Math.max(least, value))] : [],
  );
  if (logarithms.length === 0) return [least, 1];
  const [low, high] = [Math.floor(Math.min(...logarithms)), Math.ceil(Math.max(...logarithms))];
  return [10 ** low, 10 ** Math.max(high, low + 1)];
}

/** A method has the same color in every figure. */
function legendOf(methods: readonly string[], all: readonly string[]): LegendItem[] {
  return all
    .map((label, index) => ({ label, color: seriesColor(index) }))
    .filter(({ label }) => methods.includes(label));
}

/** The methods of all searches, in their order; CMA-ES comes last. */
function allMethods(searches: readonly MadeSearch[]): string[] {
  const names = [...new Set(searches.flatMap(({ methods }) => methods))];
  return [...names.filter((name) => name !== cmaEsName), ...names.filter((name) => name === cmaEsName)];
}

function curvesFigure(search: MadeSearch, all: readonly string[]): Promise<string> {
  const legend = legendOf(search.methods, all);
  const panels = search.functions.map((fn) => {
    const lines = search.lines.filter((line) => line.function === fn);
    // CMA-ES goes on far below the others, and diverged searches far above the start.
    const others = lines.filter(({ method }) => method !== cmaEsName);
    const last = Math.max(...lines.flatMap(({ evaluations }) => evaluations));
    const curves = lines.map(({ method, evaluations, median, low, high }) => ({
      label: method,
      points: evaluations.map((count, i) => ({
        evaluations: count,
        center: median[i]!,
        low: low[i]!,
        high: high[i]!,
      })),
    }));
    const shown = others.flatMap(({ median, high }) => [...median, high[0]!]);
    const most = 10 * Math.max(...others.map(({ high }) => high[0]!));
    const bounds = { values: decades(shown.filter((value) => value <= most)), evaluations: last };
    return { title: benchmarkFunction(fn).title, spec: searchPanel(curves, legend, bounds, panelSize) };
  });
  return drawFigure({ title: search.title, legend, panels });
}

/** Values of a function of two variables on a grid. */
async function gridOf({ evaluate, domain: [low, high] }: BenchmarkFunction) {
  const cells = 64;
  const at = (index: number) => low + ((high - low) * (index + 0.5)) / cells;
  const points = Array.from({ length: cells * cells }, (_, i) => [at(i % cells), at(Math.floor(i / cells))]);
  const values = await tf.tidy(() => evaluate(tf.tensor2d(points))).data();
  return { columns: cells, rows: cells, values: Array.from(values), domain: [low, high] as const };
}

/** Levels in equal steps of rank, so that lines are spread over the picture. */
function levelsOf(values: readonly number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.01, 0.06, 0.15, 0.3, 0.5, 0.75].map((share) => sorted[Math.floor(share * (sorted.length - 1))]!);
}

async function contoursFigure(paths: readonly MadePath[], all: readonly string[]): Promise<string> {
  const legend = legendOf([...new Set(paths.map(({ method }) => method))], all);
  const functions = [...new Set(paths.map((path) => path.function))];
  const size = { width: 330, height: 330 };
  const panels = await Promise.all(
    functions.map(async (name) => {
      const fn = benchmarkFunction(name);
      const grid = await gridOf(fn);
      const spec = contourPanel(
        {
          lines: await contourLines(grid, levelsOf(grid.values)),
          paths: paths
            .filter((path) => path.function === name)
            .map(({ method, points }) => ({ label: method, points: points.map(([x, y]) => ({ x, y })) })),
          minimum: { x: fn.minimizer, y: fn.minimizer },
          domain: fn.domain,
        },
        legend,
        size,
      );
      return { title: fn.title, spec };
    }),
  );
  return drawFigure({
    title: 'The policy’s mode, copy by copy, of one seed: from the circle to the dot; the minimum is a cross',
    legend,
    panels,
    size,
  });
}

function stabilityFigure(maps: readonly MadeStability[]): Promise<string> {
  const size = { width: 400, height: 320 };
  return drawFigure({
    title:
      'PMPO by α and β: the median of f at the end; crosses: most searches are lost. Dashed: β = (1 − α)/ρ; dotted: β = 1 − 2α',
    legend: [],
    panels: maps.map(({ function: fn, rejectShare, cells }) => ({
      title: `${benchmarkFunction(fn).title}, a share of ρ = ${rejectShare} rejected`,
      spec: stabilityPanel(
        cells,
        {
          rejectShare,
          values: decades(cells.flatMap(({ value, lost }) => (lost === 0 ? (value ?? []) : []))),
        },
        size,
      ),
    })),
    size,
    columns: 2,
  });
}

/** What the searches came to, without what can be computed from it. */
function dataOf({ searches, paths, stability, cmaEs }: MadeBanditStudy) {
  const ending = ({ method, function: fn, values, stddev, diverged, collapsed }: Ending) => ({
    method,
    function: fn,
    stddev,
    diverged,
    collapsed,
    values,
  });
  return {
    searches: searches.map(({ lines, endings, ...search }) => ({
      ...search,
      lines,
      endings: endings.map(ending),
    })),
    paths,
    stability,
    cmaEs,
  };
}

/** Numbers that JSON does not have, such as the value of a search that diverged, as texts that `Number` reads: "Infinity". */
export const withInfinity = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;

/** The facts needed to reproduce the results. */
export interface BanditProvenance {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string | number>>;
  /** Wall time, and the time of all processor cores but for CMA-ES: on busy cores the first says little. */
  readonly seconds: number;
  readonly processorSeconds: number;
}

/**
 * Writes the results of a study of bandits to `folder`: a figure for each search, the contours and the map of stability as SVG; summary.md
 * and tuning.md; data.json; and provenance.json.
 * @returns the files.
 */
export async function writeBanditResults(
  made: MadeBanditStudy,
  folder: string,
  provenance: BanditProvenance,
): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const all = allMethods(made.searches);
  const { summary, tuning } = banditTables(made);
  const { cmaEs } = made;
  const versions = {
    ...provenance.versions,
    ...(cmaEs === undefined ? {} : 'missing' in cmaEs ? { 'CMA-ES': `missing: ${cmaEs.missing}` } : cmaEs),
  };
  const files: [string, string][] = [
    ['summary.md', summary],
    ...(tuning === undefined ? [] : [['tuning.md', tuning] satisfies [string, string]]),
    ['data.json', `${JSON.stringify(dataOf(made), withInfinity)}\n`],
    ['provenance.json', `${JSON.stringify({ ...provenance, versions }, null, 2)}\n`],
  ];
  for (const search of made.searches) files.push([`${search.name}.svg`, await curvesFigure(search, all)]);
  if (made.paths.length > 0) files.push(['contours.svg', await contoursFigure(made.paths, all)]);
  if (made.stability.length > 0) files.push(['stability.svg', await stabilityFigure(made.stability)]);
  for (const [name, text] of files) await writeAtomically(join(folder, name), text);
  return files.map(([name]) => join(folder, name));
}
