import { readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { ConfigError } from '../core/errors.js';
import type { KeyPath } from '../core/key-path.js';
import { explainIssues, type Problem } from '../core/schema-problems.js';
import type { Catalogue } from './catalogue.js';
import { crossCheck } from './checks.js';
import {
  type Improvement,
  type LoadOptions,
  makeImprovement,
  openSource,
  refuse,
  tlsFiles,
  withAbsolutePaths,
} from './resolving.js';
import { type Config, configSchema } from './schema.js';
import type { Override } from './source.js';

/** A control job's configuration with nothing left to decide. */
export type ResolvedConfig = Config & { readonly learner: { readonly samples: number } };

export interface LoadedConfig extends Pick<Improvement, 'operator' | 'classifier' | 'warnings'> {
  readonly config: ResolvedConfig;
  /** Everything that the configuration could name, plugins included. */
  readonly catalogue: Catalogue;
}

/** Keys that name files. A path on the command line is meant from where the command is given, one in a file from there. */
const fileKeys: readonly KeyPath[] = [
  ...tlsFiles(['environment', 'tls']),
  ['environment', 'token', 'file'],
  ...tlsFiles(['replay', 'redisTls']),
  ['replay', 'redisPassword', 'file'],
];

/** What is wrong with the settings of an embedded simulator; those of a remote one are its server's to check. */
function simulatorProblems({ environment }: Config, simulators: Catalogue['simulators']): Problem[] {
  const { address, simulator, createSettings } = environment;
  if (address !== undefined || simulator === undefined || !simulators.names().includes(simulator)) return [];
  const { settings } = simulators.get(simulator);
  const { error } = settings.safeParse(createSettings);
  if (error === undefined) return [];
  return explainIssues(error, settings, createSettings).map((problem) => ({
    ...problem,
    path: ['environment', 'createSettings', ...problem.path],
  }));
}

/**
 * Checks a control job's configuration and everything it names, and fills in every default.
 * @param file the name used in messages; relative plugins are looked for beside it.
 * @throws ConfigError listing every problem with its place and, where there is one, the nearest right key.
 */
export async function resolveConfig(
  file: string,
  text: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedConfig> {
  const opened = await openSource(file, text, overrides, options);
  const { source, values, catalogue, plugins } = opened;
  if (values.language !== undefined) {
    throw new ConfigError({
      where: source.where(['language']),
      what: 'this is the configuration of a language job, and one of a control job is needed here',
      remedy:
        'Give a configuration with `environment`, such as examples/cartpole.yaml. What a language run came to is in its completions.html; `pmpo winrate` compares models',
    });
  }
  const schema = configSchema(catalogue);
  const parsed = schema.safeParse(values);
  if (!parsed.success) refuse(source, explainIssues(parsed.error, schema, values));
  const config = { ...withAbsolutePaths(parsed.data, source, file, fileKeys), plugins: [...plugins] };
  const problems = [
    ...crossCheck(config, catalogue.simulators.names()),
    ...simulatorProblems(config, catalogue.simulators),
  ];
  if (problems.length > 0) refuse(source, problems);
  const { samples, feedback, ...improvement } = makeImprovement(opened, config, config.learner.samples);
  return {
    ...improvement,
    // Once more through the schema, so that what is filled in stands where the schema has it.
    config: schema.parse({
      ...config,
      feedback,
      learner: { ...config.learner, samples },
    }) as ResolvedConfig,
    catalogue,
  };
}

/** The text of a configuration's file. @throws ConfigError when there is no such file. */
export async function readConfigFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new ConfigError({
      where: file,
      what: missing ? 'there is no such file' : `it cannot be read: ${(cause as Error).message}`,
      remedy: 'Give the path of a configuration, such as examples/cartpole.yaml',
      cause,
    });
  }
}

/**
 * Reads and resolves the configuration file of a control job.
 * @throws ConfigError when there is no such file, and as `resolveConfig`.
 */
export async function loadConfig(
  file: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedConfig> {
  return resolveConfig(file, await readConfigFile(file), overrides, options);
}

/** A resolved configuration as the text of a file that loads again and means the same. */
export function configText(config: object): string {
  return stringify(config, { lineWidth: 110 });
}
