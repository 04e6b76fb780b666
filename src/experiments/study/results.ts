import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { foldIn, randomKey } from '../../core/random-keys.js';
import {
  interquartileMean,
  mean,
  probabilityOfImprovement,
  probabilityOfImprovementInterval,
  type ScoreInterval,
  scoreInterval,
  standardDeviation,
} from '../../core/statistics.js';
import { renderFigureSvg } from '../../report/panels.js';
import { outcomeOf, type RunData, readRun } from '../../report/run-data.js';
import { jobTerms } from '../../run/job-terms.js';
import { writeAtomically } from '../../system/atomic-file.js';
import { lastMetricsCsv, lastMetricsMarkdown, metricCurvesCsv } from './metric-tables.js';
import type { StudyPlan } from './plan.js';
import { divergence, runFolder } from './run-study.js';

/** A run of a study that has ended. */
interface MadeRun {
  readonly task: string;
  readonly variant: string;
  readonly seed: number;
  readonly data: RunData;
}

/** Every run that has finished or diverged. Others are left out, because their lines would end early. */
async function madeRuns(plan: StudyPlan, folder: string): Promise<MadeRun[]> {
  const made: MadeRun[] = [];
  for (const run of plan.runs) {
    const diverged = (await divergence(folder, run)) !== undefined;
    const data = await readRun(runFolder(folder, run), { label: run.variant, diverged }).catch(
      () => undefined,
    );
    if (data === undefined || data.status === 'unfinished') continue;
    made.push({ task: run.task, variant: run.variant, seed: run.seed, data });
  }
  return made;
}

const csv = (head: readonly string[], rows: readonly (readonly (string | number)[])[]) =>
  `${[head, ...rows].map((row) => row.join(',')).join('\n')}\n`;

const rounded = (value: number) => (Number.isFinite(value) ? String(Number(value.toFixed(3))) : 'nan');

/** Every evaluation of every run. */
function evaluationsCsv(runs: readonly MadeRun[]): string {
  const head = [
    'task',
    'variant',
    'seed',
    'steps',
    'stepUnit',
    'updates',
    'wallSeconds',
    'scoreName',
    'scoreCount',
    'meanScore',
    'stdScore',
  ];
  return csv(
    head,
    runs.flatMap(({ task, variant, seed, data }) =>
      data.evaluations.map(({ steps, stepUnit, updates, wallSeconds, scoreName, scores }) => [
        task,
        variant,
        seed,
        steps,
        stepUnit,
        updates,
        rounded(wallSeconds),
        scoreName,
        scores.length,
        rounded(mean(scores)),
        rounded(standardDeviation(scores)),
      ]),
    ),
  );
}

/** How every run ended. */
function outcomesCsv(runs: readonly MadeRun[]): string {
  const head = [
    'task',
    'variant',
    'seed',
    'status',
    'steps',
    'stepUnit',
    'updates',
    'wallSeconds',
    'scoreName',
    'scoreCount',
    'meanScore',
    'stdScore',
  ];
  return csv(
    head,
    runs.map(({ task, variant, seed, data }) => {
      const outcome = outcomeOf(data);
      const { steps, updates, wallSeconds, scoreCount, meanScore, stdScore } = outcome;
      const { stepUnit, scoreName } = jobTerms[data.kind];
      return [
        task,
        variant,
        seed,
        data.status,
        steps,
        stepUnit,
        updates,
        rounded(wallSeconds),
        scoreName,
        scoreCount,
        rounded(meanScore),
        rounded(stdScore),
      ];
    }),
  );
}

/** The mean of each metric over the whole of each run. */
function metricsCsv(runs: readonly MadeRun[], metrics: readonly string[]): string {
  const significant = (value: number) => String(Number(value.toPrecision(4)));
  return csv(
    ['task', 'variant', 'seed', ...metrics],
    runs.map(({ task, variant, seed, data }) => [
      task,
      variant,
      seed,
      ...metrics.map((name) => {
        const values = data.metrics.flatMap(({ values: { [name]: value } }) => value ?? []);
        return values.length === 0 ? '' : significant(mean(values));
      }),
    ]),
  );
}

/** The final scores of each task and variant over its seeds. A seed that diverged counts with a score of 0. */
function summaryRows(runs: readonly MadeRun[]): SummaryRow[] {
  const groups = new Map<string, MadeRun[]>();
  for (const run of runs) {
    const name = `${run.task} ${run.variant}`;
    groups.set(name, [...(groups.get(name) ?? []), run]);
  }
  return [...groups.values()].map((own) => {
    const { task, variant } = own[0]!;
    const diverged = own.filter(({ data }) => data.status === 'diverged').length;
    const scores = own.map(finalScore);
    const key = foldIn(foldIn(randomKey(0), task), variant);
    return {
      task,
      variant,
      seeds: own.length,
      diverged,
      center: interquartileMean(scores),
      ...scoreInterval([scores], key),
    };
  });
}

/** The final score of a run, 0 if it diverged. */
function finalScore({ data }: MadeRun): number {
  const { meanScore } = outcomeOf(data);
  return Number.isFinite(meanScore) ? meanScore : 0;
}

/**
 * For each two variants that have runs on the same tasks: the probability that a run of the first has a greater final score than one of
 * the second, over those tasks, with its bootstrap interval.
 */
function improvementCsv(runs: readonly MadeRun[]): string {
  const scores = new Map<string, Map<string, number[]>>();
  for (const run of runs) {
    const byTask = scores.get(run.variant) ?? new Map<string, number[]>();
    byTask.set(run.task, [...(byTask.get(run.task) ?? []), finalScore(run)]);
    scores.set(run.variant, byTask);
  }
  const rows = [...scores].flatMap(([first, x], i) =>
    [...scores].slice(i + 1).flatMap(([second, y]) => {
      const tasks = [...x.keys()].filter((task) => y.has(task));
      if (tasks.length === 0) return [];
      const [of, over] = [x, y].map((byTask) => tasks.map((task) => byTask.get(task)!));
      const key = foldIn(foldIn(randomKey(0), first), second);
      const interval = probabilityOfImprovementInterval(of!, over!, key);
      const seeds = Math.min(...[...of!, ...over!].map(({ length }) => length));
      const shares = [probabilityOfImprovement(of!, over!), ...interval].map(rounded);
      return [[first, second, tasks.length, seeds, ...shares]];
    }),
  );
  const head = ['variant', 'over', 'tasks', 'fewestSeeds', 'probabilityOfImprovement', 'low95', 'high95'];
  return csv(head, rows);
}

interface SummaryRow extends ScoreInterval {
  readonly task: string;
  readonly variant: string;
  readonly seeds: number;
  readonly diverged: number;
  /** Interquartile mean over seeds of the final mean scores; the interval is its own, or the range of few seeds. */
  readonly center: number;
}

function summaryCsv(runs: readonly MadeRun[]): string {
  const head = ['task', 'variant', 'seeds', 'diverged', 'interquartileMean', 'low', 'high', 'interval'];
  return csv(
    head,
    summaryRows(runs).map(({ task, variant, seeds, diverged, center, low, high, kind }) => [
      task,
      variant,
      seeds,
      diverged,
      ...[center, low, high].map(rounded),
      kind,
    ]),
  );
}

/** A table for people, with a row for each variant and a column for each task. */
function summaryMarkdown(runs: readonly MadeRun[]): string {
  const rows = summaryRows(runs);
  const unique = (key: 'task' | 'variant') => [...new Set(rows.map((row) => row[key]))];
  const tasks = unique('task');
  const cell = (variant: string, task: string) => {
    const row = rows.find((one) => one.variant === variant && one.task === task);
    if (row === undefined) return '';
    const short = (value: number) => (Math.abs(value) >= 10 ? value.toFixed(0) : value.toFixed(2));
    const spread =
      row.seeds > 1
        ? ` (${row.kind === 'range' ? `${row.seeds} seeds from ` : '95 %: '}${short(row.low)} to ${short(row.high)})`
        : ' (1 seed)';
    return `${short(row.center)}${spread}${row.diverged > 0 ? `, ${row.diverged} of ${row.seeds} diverged` : ''}`;
  };
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return `${[
    line(['', ...tasks]),
    line(['---', ...tasks.map(() => '---')]),
    ...unique('variant').map((variant) => line([variant, ...tasks.map((task) => cell(variant, task))])),
  ].join('\n')}\n`;
}

/** The wall time of all runs together, evaluations included, in hours; several may have gone in parallel. */
function hoursOf(runs: readonly MadeRun[]): number {
  const seconds = runs.reduce((sum, { data }) => sum + outcomeOf(data).wallSeconds, 0);
  return Number((seconds / 3600).toFixed(2));
}

/** The facts needed to reproduce the results. */
export interface Provenance {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: { readonly processor: string; readonly cores: number; readonly memoryGigabytes: number };
}

/**
 * Writes the results of a study so far to `results/` in its folder: each figure as SVG; evaluations, outcomes, means of
 * metrics and a summary over seeds as CSV; the summary also as a Markdown table; and the provenance of all this.
 * @returns the files.
 */
export async function writeResults(
  plan: StudyPlan,
  folder: string,
  provenance: Provenance,
): Promise<string[]> {
  const runs = await madeRuns(plan, folder);
  const target = join(folder, 'results');
  await mkdir(target, { recursive: true });
  const drawnMetrics = [...new Set(plan.figures.flatMap(({ metric }) => metric ?? []))];
  const files: [string, string][] = [
    ['evaluations.csv', evaluationsCsv(runs)],
    ['outcomes.csv', outcomesCsv(runs)],
    ...(plan.metrics.length === 0
      ? []
      : [['metrics.csv', metricsCsv(runs, plan.metrics)] satisfies [string, string]]),
    ...(drawnMetrics.length === 0
      ? []
      : [['curves.csv', metricCurvesCsv(runs, drawnMetrics)] satisfies [string, string]]),
    ...(plan.lastMetrics.length === 0
      ? []
      : [['last-metrics.csv', lastMetricsCsv(runs, plan.lastMetrics)] satisfies [string, string]]),
    ['summary.csv', summaryCsv(runs)],
    ['improvement.csv', improvementCsv(runs)],
    [
      'summary.md',
      plan.lastMetrics.length === 0
        ? summaryMarkdown(runs)
        : `${summaryMarkdown(runs)}\n${lastMetricsMarkdown(runs, plan.lastMetrics)}`,
    ],
    [
      'provenance.json',
      `${JSON.stringify({ ...provenance, runs: runs.length, planned: plan.runs.length, runHours: hoursOf(runs) }, null, 2)}\n`,
    ],
  ];
  for (const { name, title, metric, panels } of plan.figures) {
    const drawn = panels.map((panel) => ({
      title: panel.title,
      lines: Object.entries(panel.lines).map(([label, variant]) => ({
        label,
        runs: Object.fromEntries(
          panel.tasks.map((task) => [
            task,
            runs.filter((run) => run.task === task && run.variant === variant).map(({ data }) => data),
          ]),
        ),
      })),
    }));
    files.push([`${name}.svg`, await renderFigureSvg({ title, metric, panels: drawn })]);
  }
  for (const [name, text] of files) await writeAtomically(join(target, name), text);
  return files.map(([name]) => join(target, name));
}
