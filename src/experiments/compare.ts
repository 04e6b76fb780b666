import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type LoadedConfig, loadConfig } from '../config/load.js';
import type { Override } from '../config/source.js';
import { PmpoError } from '../core/errors.js';
import { renderCurveSvg, renderReport } from '../report/report.js';
import { type RunData, readRun } from '../report/run-data.js';
import type { ProgressMode } from '../run/progress.js';
import { createRunDirectory, RunDirectory } from '../run/run-directory.js';
import { writeAtomically } from '../system/atomic-file.js';
import type { PublicModules } from '../system/user-module.js';
import { type RunState, runState } from './run-state.js';
import { trainRun } from './train-run.js';

/** What `compare` needs. */
export interface CompareOptions {
  /** The configuration that all runs share, a YAML file. */
  readonly file: string;
  readonly operators: readonly string[];
  /** Number of runs per operator. Their seeds count up from the configuration's seed. */
  readonly seeds: number;
  readonly overrides: readonly Override[];
  /** The folder of a comparison to resume. Absent: a new one. */
  readonly resume?: string;
  /** Modules that plugins may import from this package; by default they resolve 'pmpo' from their own folder. */
  readonly modules?: PublicModules;
  readonly progressMode: ProgressMode;
  /** The command that makes this comparison, printed in its report. */
  readonly command: string;
  /** Aborted: the current run saves a checkpoint, and the comparison ends. */
  readonly signal?: AbortSignal;
  /** Receives a line about each run that starts or fails. */
  readonly say: (line: string) => void;
}

/** The outcome of a comparison. */
export interface CompareResult {
  readonly folder: string;
  /** The file of the report. */
  readonly report: string;
  readonly runs: readonly RunData[];
  /** Runs that ended with an error. */
  readonly failures: readonly { readonly name: string; readonly message: string }[];
  readonly interrupted: boolean;
}

/**
 * Trains with each operator and each seed, one run after the other, and draws all runs in one report, which grows with
 * each run. Every run has its folder inside the comparison's. A run that fails is shown as diverged and does not end the
 * comparison. With `resume`, finished runs are kept, and an interrupted one resumes from its checkpoint.
 *
 * @throws ConfigError if one of the configurations is wrong, and PmpoError if there is nothing to resume or a run has
 *   other settings. Both are thrown before the first run starts.
 */
export async function compare(options: CompareOptions): Promise<CompareResult> {
  const planned = await planRuns(options);
  const { config } = planned[0].loaded;
  const simulator = config.environment.simulator ?? 'remote';
  const folder =
    options.resume === undefined
      ? await createRunDirectory(config.output, config.name ?? `compare-${simulator}`)
      : await openComparison(options.resume);
  const states: RunState[] = [];
  for (const { name, loaded } of planned) {
    const remedy = 'Resume it with the command that made it, or start a new comparison without --resume';
    states.push(await runState(join(folder.path, name), loaded.config, remedy, options.modules));
  }
  if (options.resume !== undefined && states.every(({ state }) => state === 'none')) {
    throw new PmpoError({
      where: folder.path,
      what: `it has none of the runs of this comparison: ${planned.map(({ name }) => name).join(', ')}`,
      remedy: 'Give the folder of the comparison, such as runs/compare-NAME',
    });
  }
  const runs: RunData[] = [];
  const failures: { name: string; message: string }[] = [];
  for (const [i, { name, operator, loaded }] of planned.entries()) {
    if (options.signal?.aborted) break;
    const found = states[i];
    const note = { none: '', begun: ' (resumed)', done: ' (done before)' }[found.state];
    options.say(`Run ${i + 1} of ${planned.length}: ${name}${note}`);
    const own = { ...loaded, config: { ...loaded.config, output: folder.path, name } };
    let failed = false;
    try {
      // The folder of a run without a checkpoint would occupy the name of the new one.
      if (found.state === 'none') await rm(join(folder.path, name), { recursive: true, force: true });
      const resume = found.state === 'begun' ? found.directory : undefined;
      if (found.state !== 'done') await trainRun({ ...options, loaded: own, resume });
    } catch (error) {
      if (!(error instanceof PmpoError)) throw error;
      failed = true;
      failures.push({ name, message: error.message });
      options.say(`${name}: ${error.message}`);
    }
    const made = await readRun(join(folder.path, name), { label: operator, diverged: failed }).catch(
      () => undefined,
    );
    if (made !== undefined) runs.push(made);
    await writeComparison(folder, runs, options.command);
  }
  return {
    folder: folder.path,
    report: folder.files.report,
    runs,
    failures,
    interrupted: options.signal?.aborted ?? false,
  };
}

interface PlannedRun {
  readonly name: string;
  readonly operator: string;
  readonly seed: number;
  readonly loaded: LoadedConfig;
}

/** The configuration of every run, checked before the first one starts. */
async function planRuns({
  file,
  operators,
  seeds,
  overrides,
  modules,
}: CompareOptions): Promise<PlannedRun[]> {
  const runs: PlannedRun[] = [];
  for (const operator of operators) {
    const chosen: Override = {
      label: `--operators ${operator}`,
      path: ['operator', 'name'],
      value: operator,
    };
    const first = (await loadConfig(file, [chosen, ...overrides], { modules })).config.seed;
    for (let seed = first; seed < first + seeds; seed++) {
      const seeded: Override = { label: '--seeds', path: ['seed'], value: seed };
      runs.push({
        name: `${operator}-seed${seed}`,
        operator,
        seed,
        loaded: await loadConfig(file, [chosen, ...overrides, seeded], { modules }),
      });
    }
  }
  return runs;
}

/** The folder of a comparison to resume. @throws PmpoError if it does not exist. */
async function openComparison(path: string): Promise<RunDirectory> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder) return new RunDirectory(path);
  throw new PmpoError({
    where: path,
    what: 'there is no such folder',
    remedy: 'Give the folder of the comparison, such as runs/compare-NAME',
  });
}

/** Writes a report of all runs so far, and their learning curves as a picture. */
async function writeComparison(
  folder: RunDirectory,
  runs: readonly RunData[],
  command: string,
): Promise<void> {
  if (runs.length === 0) return;
  await writeAtomically(folder.files.report, await renderReport(runs, { command }));
  await writeAtomically(join(folder.path, 'learning-curves.svg'), await renderCurveSvg(runs));
}
