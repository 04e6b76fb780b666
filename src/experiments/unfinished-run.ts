import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { configText, resolveJob } from '../config/load.js';
import { ConfigError, PmpoError } from '../core/errors.js';
import { jobKind } from '../run/job-terms.js';
import { openRunDirectory, type RunDirectory } from '../run/run-directory.js';
import type { PublicModules } from '../system/user-module.js';

/** What experiments of many runs need to go on where they were stopped. */

type Tree = Readonly<Record<string, unknown>>;

/** True when two configurations make the same run: where it is reached and where it is kept do not matter. */
export function sameRun(a: Tree, b: Tree): boolean {
  const anywhere = (group: unknown) => group && { ...(group as Tree), address: undefined };
  const essence = ({ output: _, name: __, environment, language, ...rest }: Tree) => ({
    ...rest,
    environment: anywhere(environment),
    language: language && { ...(language as Tree), model: anywhere((language as Tree).model) },
  });
  return isDeepStrictEqual(essence(a), essence(b));
}

/** The settings of the run in a folder, with what settings have come since then filled in. */
async function settingsOf(directory: RunDirectory, modules: PublicModules): Promise<Tree> {
  const text = await directory.readConfig();
  const job = await resolveJob(directory.files.config, text, [], { modules, renamedKeys: 'read' }).catch(
    (error: unknown) => {
      if (error instanceof ConfigError) return undefined;
      throw error;
    },
  );
  return parse(job === undefined ? text : configText(job.config)) as Tree;
}

/** `none`: nothing that could be gone on with. `begun`: there is a checkpoint. `done`: it has its summary. */
export type RunState =
  | { readonly state: 'none' }
  | { readonly state: 'begun' | 'done'; readonly directory: RunDirectory };

/**
 * How far the run in a folder is.
 * @param remedy what to do where another run is in the way
 * @param modules what plugins may import from this package
 * @throws PmpoError when a run of another configuration stands there.
 */
export async function stateOfRun(
  path: string,
  config: object,
  remedy: string,
  modules: PublicModules = {},
): Promise<RunState> {
  const isRun = await stat(join(path, 'config.yaml')).then(
    () => true,
    () => false,
  );
  if (!isRun) return { state: 'none' };
  const directory = await openRunDirectory(path);
  const settings = await settingsOf(directory, modules);
  if (!sameRun(settings, parse(configText(config)) as Tree)) {
    throw new PmpoError({
      where: path,
      what: 'a run with other settings than are asked for now stands there',
      remedy,
    });
  }
  if ((await directory.readSummary(jobKind(settings))) !== undefined) return { state: 'done', directory };
  return (await directory.checkpoints.latest()) === undefined
    ? { state: 'none' }
    : { state: 'begun', directory };
}
