import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { renderFigureSvg } from '../../report/panels.js';
import { outcomeOf, type RunData, readRun } from '../../report/run-data.js';
import { writeAtomically } from '../../run/atomic-file.js';
import { mean, standardDeviation } from '../../run/statistics.js';
import type { StudyPlan } from './plan.js';
import { divergence, runFolder } from './run-study.js';

/** One run of a study that has been made, as far as it came. */
interface MadeRun {
  readonly task: string;
  readonly variant: string;
  readonly seed: number;
  readonly data: RunData;
}

/** Every run that has ended, well or by diverging; one under way would end its line early. */
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
    'environmentSteps',
    'updates',
    'wallSeconds',
    'episodes',
    'meanReturn',
    'stdReturn',
  ];
  return csv(
    head,
    runs.flatMap(({ task, variant, seed, data }) =>
      data.evaluations.map(({ environmentSteps, updates, wallSeconds, returns }) => [
        task,
        variant,
        seed,
        environmentSteps,
        updates,
        rounded(wallSeconds),
        returns.length,
        rounded(mean(returns)),
        rounded(standardDeviation(returns)),
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
    'environmentSteps',
    'updates',
    'wallSeconds',
    'episodes',
    'meanReturn',
    'stdReturn',
  ];
  return csv(
    head,
    runs.map(({ task, variant, seed, data }) => {
      const outcome = outcomeOf(data);
      const { environmentSteps, updates, wallSeconds, episodes, meanReturn, stdReturn } = outcome;
      return [
        task,
        variant,
        seed,
        data.status,
        environmentSteps,
        updates,
        rounded(wallSeconds),
        episodes,
        rounded(meanReturn),
        rounded(stdReturn),
      ];
    }),
  );
}

/** How the results came to be: what is needed to make them again. */
export interface Provenance {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: { readonly processor: string; readonly cores: number; readonly memoryGigabytes: number };
}

/**
 * Writes what a study has come to so far under `results/` in its folder: each figure as SVG, every evaluation and every
 * outcome as comma-separated values, and how they were made.
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
  const files: [string, string][] = [
    ['evaluations.csv', evaluationsCsv(runs)],
    ['outcomes.csv', outcomesCsv(runs)],
    [
      'provenance.json',
      `${JSON.stringify({ ...provenance, runs: runs.length, planned: plan.runs.length }, null, 2)}\n`,
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
