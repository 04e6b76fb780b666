import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { configText } from '../../config/load.js';
import type { PublicModules } from '../../system/user-module.js';
import { runState } from '../run-state.js';
import type { StudyPlan, StudyRun } from './plan.js';

/** How a run is to be made: from the start, or from where it was stopped. */
export type RunAction = { readonly config: string } | { readonly resume: string };

/** How a run ended. `diverged` is a result; `failed` is tried again when the study goes on. */
export interface RunEnd {
  readonly state: 'done' | 'stopped' | 'diverged' | 'failed';
  /** The error's own words. */
  readonly message?: string;
}

export interface RunStudyOptions {
  readonly plan: StudyPlan;
  /** The study's folder; runs stand under its `runs/`. */
  readonly folder: string;
  /** Runs under way at once. */
  readonly jobs: number;
  /** Makes one run to its end, in a process of its own. */
  readonly launch: (action: RunAction, signal: AbortSignal | undefined) => Promise<RunEnd>;
  /** What plugins may import from this package. */
  readonly modules?: PublicModules;
  readonly signal?: AbortSignal;
  readonly say: (line: string) => void;
  /** Told after each run that ended well or diverged. */
  readonly onProgress?: () => Promise<void>;
}

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

/** Where a run's folder is. */
export function runFolder(folder: string, { path }: Pick<StudyRun, 'path'>): string {
  return join(folder, 'runs', path);
}

/** Why a run ended without a policy; undefined where it did not, or has not been made yet. */
export async function divergence(folder: string, run: StudyRun): Promise<string | undefined> {
  const file = join(runFolder(folder, run), divergedName);
  return (await exists(file)) ? (await readFile(file, 'utf8')).trim() : undefined;
}

/**
 * What is left to do for a run: nothing, the whole of it, or the rest.
 * @throws PmpoError when a run of another configuration stands in its place.
 */
async function remaining(
  folder: string,
  run: StudyRun,
  modules?: PublicModules,
): Promise<RunAction | undefined> {
  const path = runFolder(folder, run);
  const remedy = 'Move it away, or give the study another folder with --output';
  const { state } = await runState(path, run.loaded.config, remedy, modules);
  if (state === 'done' || (await divergence(folder, run)) !== undefined) return undefined;
  if (state === 'begun') return { resume: path };
  // Nothing of it could be gone on with.
  await rm(path, { recursive: true, force: true });
  const config = `${path}.yaml`;
  await mkdir(dirname(config), { recursive: true });
  await writeFile(config, configText(run.loaded.config));
  return { config };
}

/**
 * Makes every run of a plan that has not been made yet, several at once. A run that diverges is a result; one that fails
 * otherwise is told of at the end, and made again when the study goes on. Nothing that is done is done again.
 *
 * @throws PmpoError before anything starts, when runs of another configuration stand in the way.
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
  say(`${total} runs, ${done} of them done before`);
  const failures: { path: string; message: string }[] = [];
  const work = async () => {
    for (let next = queue.shift(); next !== undefined && !signal?.aborted; next = queue.shift()) {
      const { run, action } = next;
      say(`${run.path}: ${'resume' in action ? 'going on' : 'starting'}`);
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
