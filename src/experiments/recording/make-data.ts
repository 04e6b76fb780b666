import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { resolveConfig } from '../../config/load.js';
import { canonicalJson } from '../../core/canonical-json.js';
import { ConfigError, PmpoError, StoppedError } from '../../core/errors.js';
import { packageVersion } from '../../core/version.js';
import { minariFile } from '../../datasets/transitions/minari.js';
import { openRunDirectory } from '../../run/run-directory.js';
import { writeAtomically } from '../../system/atomic-file.js';
import type { PublicModules } from '../../system/user-module.js';
import { runState } from '../run-state.js';
import { trainRun } from '../train-run.js';
import type { Mixture, Recipe } from './recipe.js';
import { type RecordedSet, recordEpisodes } from './record.js';

/** What `makeData` needs. */
export interface MakeDataOptions {
  readonly recipe: Recipe;
  /** The name of the recipe in messages, from whose folder its paths are resolved. */
  readonly file: string;
  /** The folder for the run and the data set. */
  readonly folder: string;
  readonly modules?: PublicModules;
  readonly signal?: AbortSignal;
  readonly say: (line: string) => void;
  readonly command: string;
}

/** The data set that a recipe makes in a folder. */
export const dataFolder = (folder: string): string => join(folder, 'data');

/**
 * Checks before training that the run will keep a checkpoint for each policy.
 * @throws ConfigError naming a step that lies before the first checkpoint that is kept.
 */
export function requireCheckpoints(
  file: string,
  { policies }: Mixture,
  {
    learner: { environmentSteps },
    checkpoint: { every, keep },
  }: {
    readonly learner: { readonly environmentSteps: number };
    readonly checkpoint: { readonly every: number; readonly keep: number };
  },
): void {
  const first = Math.max(1, Math.ceil(environmentSteps / every) - keep + 1);
  const oldest = Math.min(environmentSteps, first * every);
  for (const [i, { policy }] of policies.entries()) {
    if (typeof policy !== 'number' || policy >= oldest) continue;
    throw new ConfigError({
      where: `${file}, policies[${i}].policy`,
      what: `no checkpoint at ${policy} or before will be kept: with config.checkpoint.every = ${every} and keep = ${keep}, the first one is at ${oldest}`,
      remedy:
        'Set config.checkpoint.every and config.checkpoint.keep so that it is kept, or name a later step',
    });
  }
}

/**
 * Makes the data set of a recipe: trains the control run, or goes on with it, and records its checkpoints. A data set that the same recipe
 * has made before is left as it is.
 * @throws PmpoError as the run and the recording do, and if the folder holds something else; StoppedError if `signal` is aborted.
 */
export async function makeData(options: MakeDataOptions): Promise<RecordedSet | undefined> {
  const { recipe, file, folder, modules, signal, say, command } = options;
  const { config: control, ...mixture } = recipe;
  const stamp = join(folder, 'recipe.json');
  const facts = canonicalJson({ recipe, version: packageVersion() });
  const made = await readFile(stamp, 'utf8').catch(() => undefined);
  if (made === `${facts}\n`) {
    if ((await minariFile(dataFolder(folder))) !== undefined) return undefined;
    say(`${folder}: its data has been removed, and is recorded again`);
  } else if (made !== undefined) {
    throw new PmpoError({
      where: folder,
      what: 'it holds the data of another recipe or version',
      remedy: 'Remove the folder, or give another --output',
    });
  }
  await mkdir(folder, { recursive: true });
  const values = { ...control, name: 'policies', output: folder };
  const loaded = await resolveConfig(file, stringify(values), [], { modules });
  requireCheckpoints(file, mixture, loaded.config);
  const trains = mixture.policies.some(({ policy }) => policy !== 'random');
  let directory: Awaited<ReturnType<typeof openRunDirectory>> | undefined;
  if (trains) {
    const path = join(folder, 'policies');
    const state = await runState(path, loaded.config, 'Remove the folder', modules);
    if (state.state !== 'done') {
      say(`${folder}: training the policies that play`);
      const { summary } = await trainRun({
        loaded,
        resume: state.state === 'begun' ? state.directory : undefined,
        progressMode: 'quiet',
        command,
        signal,
      });
      if (summary === undefined)
        throw new StoppedError({ where: folder, what: 'it was stopped, and can be continued' });
    }
    directory = await openRunDirectory(path);
  }
  say(`${folder}: recording ${mixture.episodes} episodes`);
  const set = await recordEpisodes({
    loaded,
    directory,
    mixture,
    output: dataFolder(folder),
    notice: say,
    signal,
  });
  for (const { name, episodes, meanReturn } of set.policies)
    say(`${folder}: ${episodes} episodes of ${name}: mean return ${meanReturn.toFixed(1)}`);
  await writeAtomically(stamp, `${facts}\n`);
  return set;
}
