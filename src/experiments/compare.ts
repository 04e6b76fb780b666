import { join } from 'node:path';
import { type LoadedConfig, loadConfig } from '../config/load.js';
import type { Override } from '../config/source.js';
import { PmpoError } from '../errors.js';
import { renderCurveSvg, renderReport } from '../report/report.js';
import { type RunData, readRun } from '../report/run-data.js';
import { writeAtomically } from '../run/atomic-file.js';
import type { ProgressMode } from '../run/progress.js';
import { createRunDirectory, type RunDirectory } from '../run/run-directory.js';
import { trainRun } from './train-run.js';

export interface CompareOptions {
  readonly file: string;
  readonly operators: readonly string[];
  /** Seeds in turn, from the configuration's own. */
  readonly seeds: number;
  readonly overrides: readonly Override[];
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
async function plan({ file, operators, seeds, overrides }: CompareOptions): Promise<Planned[]> {
  const runs: Planned[] = [];
  for (const operator of operators) {
    const chosen: Override = {
      label: `--operators ${operator}`,
      path: ['operator', 'name'],
      value: operator,
    };
    const first = (await loadConfig(file, [chosen, ...overrides])).config.seed;
    for (let seed = first; seed < first + seeds; seed++) {
      const seeded: Override = { label: '--seeds', path: ['seed'], value: seed };
      runs.push({
        name: `${operator}-seed${seed}`,
        operator,
        seed,
        loaded: await loadConfig(file, [chosen, ...overrides, seeded]),
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

/**
 * Trains with each operator and each seed, one after the other, each run in a folder of its own, and draws all of them in
 * one report, which grows as they end. A run that fails is shown as diverged and does not end the comparison.
 *
 * @throws ConfigError when any of the configurations is wrong, before the first run.
 */
export async function compare(options: CompareOptions): Promise<CompareResult> {
  const planned = await plan(options);
  const { config } = planned[0].loaded;
  const simulator = config.environment.simulator ?? 'remote';
  const folder = await createRunDirectory(config.output, config.name ?? `compare-${simulator}`);
  const runs: RunData[] = [];
  const failures: { name: string; message: string }[] = [];
  for (const [i, { name, operator, loaded }] of planned.entries()) {
    if (options.signal?.aborted) break;
    options.say(`Run ${i + 1} of ${planned.length}: ${name}`);
    const own = { ...loaded, config: { ...loaded.config, output: folder.path, name } };
    let failed = false;
    try {
      await trainRun({ ...options, loaded: own });
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
