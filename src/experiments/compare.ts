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
import { trainRun } from './train-run.js';
import { type RunState, stateOfRun } from './unfinished-run.js';

export interface CompareOptions {
  readonly file: string;
  readonly operators: readonly string[];
  /** Seeds in turn, from the configuration's own. */
  readonly seeds: number;
  readonly overrides: readonly Override[];
  /** The folder of a comparison to go on with. Absent: a new one. */
  readonly resume?: string;
  /** What plugins may import from this package. */
  readonly modules: PublicModules;
  readonly progressMode: ProgressMode;
  readonly command: string;
  readonly signal?: AbortSignal;
  /** Told what a person should know. */
  readonly say: (line: string) => void;
}

export interface CompareResult {
  readonly folder: string;
  readonly report: string;
  readonly runs: readonly RunData[];
  /** Runs that ended with an error, and its message. */
  readonly failures: readonly { readonly name: string; readonly message: string }[];
  readonly interrupted: boolean;
}

interface Planned {
  readonly name: string;
  readonly operator: string;
  readonly seed: number;
  readonly loaded: LoadedConfig;
}

/** Every run's configuration, checked before the first one starts. */
async function plan({ file, operators, seeds, overrides, modules }: CompareOptions): Promise<Planned[]> {
  const runs: Planned[] = [];
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

/** All runs so far as one report, and their learning curves as a picture of its own. */
async function report(folder: RunDirectory, runs: readonly RunData[], command: string): Promise<void> {
  if (runs.length === 0) return;
  await writeAtomically(folder.files.report, await renderReport(runs, { command }));
  await writeAtomically(join(folder.path, 'learning-curves.svg'), await renderCurveSvg(runs));
}

/** The folder of a comparison that was begun. @throws PmpoError when there is none. */
async function openComparison(path: string): Promise<RunDirectory> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder) return new RunDirectory(path);
  throw new PmpoError({
    where: path,
    what: 'there is no such folder',
    remedy: 'Give the folder that the comparison left behind, such as runs/compare-NAME',
  });
}

/**
 * Trains with each operator and each seed, one after the other, each run in a folder of its own, and draws all of them in
 * one report, which grows as they end. A run that fails is shown as diverged and does not end the comparison. With `resume`,
 * runs that are done stay as they are, and one that was under way goes on.
 *
 * @throws ConfigError when any of the configurations is wrong; PmpoError when there is nothing to resume, or what is there
 *   was made with other settings. Both before the first run.
 */
export async function compare(options: CompareOptions): Promise<CompareResult> {
  const planned = await plan(options);
  const { config } = planned[0].loaded;
  const simulator = config.environment.simulator ?? 'remote';
  const folder =
    options.resume === undefined
      ? await createRunDirectory(config.output, config.name ?? `compare-${simulator}`)
      : await openComparison(options.resume);
  const states: RunState[] = [];
  for (const { name, loaded } of planned) {
    const remedy = 'Go on with the command that made it, or compare anew without --resume';
    states.push(await stateOfRun(join(folder.path, name), loaded.config, remedy, options.modules));
  }
  if (options.resume !== undefined && states.every(({ state }) => state === 'none')) {
    throw new PmpoError({
      where: folder.path,
      what: `none of the runs of this comparison is there: ${planned.map(({ name }) => name).join(', ')}`,
      remedy: 'Give the folder that the comparison left behind, such as runs/compare-NAME',
    });
  }
  const runs: RunData[] = [];
  const failures: { name: string; message: string }[] = [];
  for (const [i, { name, operator, loaded }] of planned.entries()) {
    if (options.signal?.aborted) break;
    const found = states[i];
    const how = { none: '', begun: ' goes on', done: ' is done' }[found.state];
    options.say(`Run ${i + 1} of ${planned.length}: ${name}${how}`);
    const own = { ...loaded, config: { ...loaded.config, output: folder.path, name } };
    let failed = false;
    try {
      // What a run left that had no checkpoint yet would be in the way of its name.
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
    await report(folder, runs, options.command);
  }
  return {
    folder: folder.path,
    report: folder.files.report,
    runs,
    failures,
    interrupted: options.signal?.aborted ?? false,
  };
}
