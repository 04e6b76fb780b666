import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { configText, resolveJob } from '../config/load.js';
import { ConfigError, PmpoError } from '../core/errors.js';
import { jobKind } from '../run/job-terms.js';
import { openRunDirectory, type RunDirectory } from '../run/run-directory.js';
import type { PublicModules } from '../system/user-module.js';

/** The state in which an experiment of many runs finds one of them when it is resumed. */

type Tree = Readonly<Record<string, unknown>>;

/** True if two configurations describe the same run. The addresses of servers and the run's folder do not matter. */
export function sameRun(a: Tree, b: Tree): boolean {
  const anywhere = (group: unknown) => group && { ...(group as Tree), address: undefined };
  const essence = ({ output: _, name: __, environment, language, ...rest }: Tree) => ({
    ...rest,
    environment: anywhere(environment),
    language: language && { ...(language as Tree), model: anywhere((language as Tree).model) },
  });
  return isDeepStrictEqual(essence(a), essence(b));
}

/** The settings of the run in a folder. Settings that did not exist when it was made have their defaults. */
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

/** `none`: there is nothing to resume from. `begun`: there is a checkpoint. `done`: there is a summary. */
export type RunState =
  | { readonly state: 'none' }
  | { readonly state: 'begun' | 'done'; readonly directory: RunDirectory };

/**
 * The state of the run in a folder.
 * @param config the configuration that the run must have.
 * @param remedy the advice in the error if the folder holds another run.
 * @param modules modules that plugins may import from this package.
 * @throws PmpoError if the folder holds a run of another configuration.
 */
export async function runState(
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
    throw new PmpoError({ where: path, what: 'it holds a run with other settings', remedy });
  }
  if ((await directory.readSummary(jobKind(settings))) !== undefined) return { state: 'done', directory };
  return (await directory.checkpoints.latest()) === undefined
    ? { state: 'none' }
    : { state: 'begun', directory };
}
