import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { configText } from '../../config/load.js';
import type { PublicModules } from '../../system/user-module.js';
import { runState } from '../run-state.js';
import type { StudyPlan, StudyRun } from './plan.js';

/** Starts a run from its configuration, or resumes it from its folder. */
export type RunAction = { readonly config: string } | { readonly resume: string };

/** The end of a run. `diverged` is a result; a run that has `failed` is tried again when the study is resumed. */
export interface RunEnd {
  readonly state: 'done' | 'stopped' | 'diverged' | 'failed';
  /** The message of the error. */
  readonly message?: string;
}

/** What `runStudy` needs. */
export interface RunStudyOptions {
  readonly plan: StudyPlan;
  /** The folder of the study, which keeps its runs below `runs/`. */
  readonly folder: string;
  /** Number of runs in progress at once. */
  readonly jobs: number;
  /** Makes one run in a separate process. */
  readonly launch: (action: RunAction, signal: AbortSignal | undefined) => Promise<RunEnd>;
  /** Modules that plugins may import from this package. */
  readonly modules?: PublicModules;
  readonly signal?: AbortSignal;
  readonly say: (line: string) => void;
  /** Called after each run that has finished or diverged. */
  readonly onProgress?: () => Promise<void>;
}

/** The outcome of `runStudy`. */
export interface RunStudyResult {
  readonly failures: readonly { readonly path: string; readonly message: string }[];
  readonly interrupted: boolean;
}

const divergedName = 'diverged.txt';

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The folder of a run. */
export function runFolder(folder: string, { path }: Pick<StudyRun, 'path'>): string {
  return join(folder, 'runs', path);
}

/** The error of a run that diverged; undefined for any other run. */
export async function divergence(folder: string, run: StudyRun): Promise<string | undefined> {
  const file = join(runFolder(folder, run), divergedName);
  return (await exists(file)) ? (await readFile(file, 'utf8')).trim() : undefined;
}

/**
 * The action that a run still needs; undefined if it has ended.
 * @throws PmpoError if its folder holds a run of another configuration.
 */
async function remaining(
  folder: string,
  run: StudyRun,
  modules?: PublicModules,
): Promise<RunAction | undefined> {
  const path = runFolder(folder, run);
  const remedy = 'Move it away, or choose another folder for the study with --output';
  const { state } = await runState(path, run.loaded.config, remedy, modules);
  if (state === 'done' || (await divergence(folder, run)) !== undefined) return undefined;
  if (state === 'begun') return { resume: path };
  // Without a checkpoint it cannot be resumed.
  await rm(path, { recursive: true, force: true });
  const config = `${path}.yaml`;
  await mkdir(dirname(config), { recursive: true });
  await writeFile(config, configText(run.loaded.config));
  return { config };
}

/**
 * Makes every run of a plan that has not been made yet, several at once. A run that diverges is a result. A run that fails
 * in another way is among the failures, and is tried again when the study is resumed.
 *
 * @throws PmpoError before anything starts, if a folder holds a run of another configuration.
 */
export async function runStudy(options: RunStudyOptions): Promise<RunStudyResult> {
  const { plan, folder, jobs, launch, signal, say, onProgress } = options;
  const queue: { run: StudyRun; action: RunAction }[] = [];
  for (const run of plan.runs) {
    const action = await remaining(folder, run, options.modules);
    if (action !== undefined) queue.push({ run, action });
  }
  const total = plan.runs.length;
  let done = total - queue.length;
  say(`${total} runs, of which ${done} ${done === 1 ? 'was' : 'were'} done before`);
  const failures: { path: string; message: string }[] = [];
  const work = async () => {
    for (let next = queue.shift(); next !== undefined && !signal?.aborted; next = queue.shift()) {
      const { run, action } = next;
      say(`${run.path}: ${'resume' in action ? 'resuming' : 'starting'}`);
      const { state, message = '' } = await launch(action, signal);
      if (state === 'stopped') continue;
      if (state === 'failed') {
        failures.push({ path: run.path, message });
        say(`${run.path} failed: ${message}`);
        continue;
      }
      if (state === 'diverged') await writeFile(join(runFolder(folder, run), divergedName), `${message}\n`);
      done += 1;
      say(`${run.path}: ${state === 'done' ? 'done' : `diverged: ${message}`} (${done} of ${total})`);
      await onProgress?.();
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return { failures, interrupted: signal?.aborted ?? false };
}
