import { readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { ConfigError } from '../core/errors.js';
import { jobKind } from '../core/job-kind.js';
import { formatPath, isGroup } from '../core/key-path.js';
import { nearest } from '../core/nearest.js';
import { explainIssues, type Problem } from '../core/schema-problems.js';
import type { PublicModules } from '../system/user-module.js';
import { type Catalogue, createCatalogue } from './catalogue.js';
import type { Config } from './control-schema.js';
import { withAbsolutePaths } from './file-keys.js';
import { createImprovement, type Improvement, settingsOf } from './improvement.js';
import {
  type AnyJobConfig,
  controlJob,
  type JobKind,
  languageJob,
  offlineJob,
  withDefault,
} from './job-kinds.js';
import type { LanguageConfig } from './language-schema.js';
import type { OfflineConfig } from './offline-schema.js';
import { PluginClassifier } from './plugin-classifier.js';
import { loadPlugins } from './plugins.js';
import { renamedKeyProblems, withCurrentKeys } from './renamed-keys.js';
import { type ConfigSource, type Override, readSource, refuse } from './source.js';

/**
 * The one loader of configurations: reads the text, lays the command line's settings over it, loads plugins, validates
 * everything once, and creates the operator and the classifier. job-kinds.ts describes what differs between kinds of jobs.
 */

/** A configuration in which N, too, is decided. */
type WithSamples<C> = C & { readonly learner: { readonly samples: number } };

/** A control job's configuration with every default filled in. */
export type ResolvedConfig = WithSamples<Config>;

/** A language job's configuration with every default filled in. */
export type ResolvedLanguageConfig = WithSamples<LanguageConfig>;

/** An offline job's configuration with every default filled in. */
export type ResolvedOfflineConfig = WithSamples<OfflineConfig>;

interface Loaded<C> extends Improvement {
  readonly config: C;
  /** Everything that the configuration could name, plugins included. */
  readonly catalogue: Catalogue;
  /** Modules that the user's programs may import from this package. */
  readonly modules: PublicModules;
}

/** A control job's configuration, and the operator, the feedback classifier and the registries that it selects from. */
export type LoadedConfig = Loaded<ResolvedConfig>;
/** A language job's configuration, and the operator, the feedback classifier and the registries that it selects from. */
export type LoadedLanguageConfig = Loaded<ResolvedLanguageConfig>;
/** An offline job's configuration, and the operator, the feedback classifier and the registries that it selects from. */
export type LoadedOfflineConfig = Loaded<ResolvedOfflineConfig>;

/** A job of any kind. */
export type LoadedJob =
  | ({ readonly kind: 'control' } & LoadedConfig)
  | ({ readonly kind: 'language' } & LoadedLanguageConfig)
  | ({ readonly kind: 'offline' } & LoadedOfflineConfig);

/** Options of the functions that load a configuration. */
export interface LoadOptions {
  /** Modules that plugins and reward programs may import from this package; by default they resolve 'pmpo' from their own folder. */
  readonly modules?: PublicModules;
  /**
   * What to do with a key that has another name now (see renamed-keys.ts): `refuse` it, which is the default, or `read` it,
   * for the config.yaml in the folder of a run that an older version made.
   */
  readonly renamedKeys?: 'refuse' | 'read';
}

type Values = Readonly<Record<string, unknown>>;

const defaultNames = { operator: 'pmpo', feedback: 'top-k' } as const;

/** Fills in the defaults that depend on other settings, before the schema, which cannot express them, sees the values. */
function withDefaults<C extends AnyJobConfig>(kind: JobKind<C>, given: Values, catalogue: Catalogue): Values {
  const { operators } = catalogue;
  let values = given;
  // `operator: {alpha: 1}` means the default operator: the schema needs the name to choose the settings.
  for (const [block, name] of Object.entries(defaultNames)) {
    if (values[block] !== undefined) values = withDefault(values, block, 'name', name);
  }
  values = kind.withDefaults(values, catalogue);
  const name = isGroup(values.operator) ? values.operator.name : defaultNames.operator;
  const operator = operators.definitions().find((definition) => definition.name === name);
  return operator === undefined ? values : withDefault(values, 'learner', 'samples', operator.defaultSamples);
}

/** The list of plugins, or none if it is not a list of texts, which the schema reports. */
function pluginPaths(given: unknown): readonly string[] {
  const isPaths = Array.isArray(given) && given.every((path): path is string => typeof path === 'string');
  return isPaths ? given : [];
}

/** The problems of a configuration, of which that of one without a simulator says what may take its place. */
function withSubject(
  problems: readonly Problem[],
  values: Readonly<Record<string, unknown>>,
): readonly Problem[] {
  if (values.environment !== undefined) return problems;
  const what = 'is missing: a configuration needs a simulator, a data set or a language model';
  // A misspelt key is explained by itself.
  const isMisspelt = Object.keys(values).some((key) => nearest(key, ['environment']) !== undefined);
  return problems.flatMap((problem) => {
    if (formatPath(problem.path) !== 'environment') return [problem];
    return isMisspelt ? [] : [{ path: problem.path, what, remedy: '`npx pmpo init` writes one' }];
  });
}

async function resolveAs<C extends AnyJobConfig>(
  kind: JobKind<C>,
  source: ConfigSource,
  { modules = {}, renamedKeys = 'refuse' }: LoadOptions,
): Promise<Loaded<WithSamples<C>>> {
  const renamed = renamedKeys === 'refuse' ? renamedKeyProblems(source.values) : [];
  if (renamed.length > 0) refuse(source, renamed);
  const current = withCurrentKeys(source.values);
  const paths = pluginPaths(current.plugins);
  const catalogue = createCatalogue(modules);
  const pluginFiles = await loadPlugins(paths, catalogue, source.folderOf(['plugins']), modules);
  const values = withDefaults(kind, current, catalogue);
  const schema = kind.schema(catalogue);
  const parsed = schema.safeParse(values);
  if (!parsed.success) refuse(source, withSubject(explainIssues(parsed.error, schema, values), values));
  const config = withAbsolutePaths(parsed.data, kind.fileKeys(values, catalogue), source.folderOf);
  const problems = kind.crossCheck(config, catalogue);
  if (problems.length > 0) refuse(source, problems);
  const samples = config.learner.samples ?? catalogue.operators.get(config.operator.name).defaultSamples;
  const operatorSamples = kind.operatorSamples?.(config, samples) ?? samples;
  const { improvement, operator, feedback } = createImprovement(source, catalogue, config, operatorSamples, {
    kl: kind.kl(config),
    sequences: kind.sequences,
    contexts: config.learner.batchSize,
    klParts: kind.klParts,
    baseline: kind.baseline,
    samplesRemedy: kind.samplesRemedy,
    warnings: (operator, rejectShare, own) => kind.warnings?.(config, operator, rejectShare, own) ?? own,
  });
  const pluginOf = pluginFiles.get(catalogue.feedback.get(feedback.name).plugin ?? '');
  const { classifier } = improvement;
  return {
    ...improvement,
    classifier:
      pluginOf === undefined || classifier.classifyOnHost === undefined
        ? classifier
        : new PluginClassifier(classifier, {
            kind: 'feedback',
            plugin: pluginOf,
            name: feedback.name,
            settings: settingsOf(feedback),
            samples: operatorSamples,
            ownModules: Object.keys(modules).length > 0,
          }),
    config: {
      ...config,
      plugins: [...pluginFiles.values()],
      operator,
      feedback,
      learner: { ...config.learner, samples },
    },
    catalogue,
    modules,
  };
}

/**
 * Checks a configuration of either kind and everything that it names, and fills in every default.
 * @param file the name used in messages; relative paths in the text are resolved from its folder.
 * @throws ConfigError that lists every problem with its place and, if there is one, the nearest right key.
 */
export async function resolveJob(
  file: string,
  text: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedJob> {
  const source = readSource(file, text, overrides);
  switch (jobKind(source.values)) {
    case 'language':
      return { kind: 'language', ...(await resolveAs(languageJob, source, options)) };
    case 'offline':
      return { kind: 'offline', ...(await resolveAs(offlineJob, source, options)) };
    case 'control':
      return { kind: 'control', ...(await resolveAs(controlJob, source, options)) };
  }
}

/** The same for a control job. @throws ConfigError as `resolveJob`, and for the configuration of a language job. */
export async function resolveConfig(
  file: string,
  text: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedConfig> {
  const source = readSource(file, text, overrides);
  const kind = jobKind(source.values);
  if (kind === 'control') return resolveAs(controlJob, source, options);
  if (kind === 'offline') {
    throw new ConfigError({
      where: source.where(['dataset']),
      what: 'this is the configuration of an offline job, and a control job is needed here',
      remedy: 'Give a configuration with `environment` and without `dataset`, such as examples/cartpole.yaml',
    });
  }
  throw new ConfigError({
    where: source.where(['language']),
    what: 'this is the configuration of a language job, and a control job is needed here',
    remedy:
      'Give a configuration with `environment`, such as examples/cartpole.yaml. The results of a language run are in its completions.html; `npx pmpo winrate` compares models',
  });
}

/** The same for a language job. @throws ConfigError as `resolveJob`, and for the configuration of a control job. */
export async function resolveLanguageConfig(
  file: string,
  text: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedLanguageConfig> {
  const source = readSource(file, text, overrides);
  if (jobKind(source.values) === 'language') return resolveAs(languageJob, source, options);
  throw new ConfigError({
    where: file,
    what: `this is the configuration of a job of another kind (${jobKind(source.values)}), and a language job is needed here`,
    remedy: 'Give a configuration with `language`, such as examples/language/tiny.yaml',
  });
}

/** The text of a configuration file. @throws ConfigError if the file cannot be read. */
async function readConfigFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new ConfigError({
      where: file,
      what: missing ? 'there is no such file' : `it cannot be read: ${(cause as Error).message}`,
      remedy: 'Give the path of a configuration; `npx pmpo init` writes one',
      cause,
    });
  }
}

/** Reads and resolves a configuration file of either kind. @throws ConfigError as `resolveJob`, and if the file cannot be read. */
export async function loadJob(
  file: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedJob> {
  return resolveJob(file, await readConfigFile(file), overrides, options);
}

/** Reads and resolves the configuration file of a control job. @throws ConfigError as `resolveConfig`, and if the file cannot be read. */
export async function loadConfig(
  file: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedConfig> {
  return resolveConfig(file, await readConfigFile(file), overrides, options);
}

/**
 * Reads and resolves the configuration file of a job whose policy acts, a control or an offline job.
 * @throws ConfigError as `resolveJob`, for a language job, and if the file cannot be read.
 */
export async function loadPolicyConfig(
  file: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedConfig | LoadedOfflineConfig> {
  const text = await readConfigFile(file);
  const job = await resolveJob(file, text, overrides, options);
  return job.kind === 'language' ? resolveConfig(file, text, overrides, options) : job;
}

/** Reads and resolves the configuration file of a language job. @throws ConfigError as `resolveLanguageConfig`, and if the file cannot be read. */
export async function loadLanguageConfig(
  file: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedLanguageConfig> {
  return resolveLanguageConfig(file, await readConfigFile(file), overrides, options);
}

/** A resolved configuration as the text of a file that loads again and means the same. */
export function configText(config: object): string {
  return stringify(config, { lineWidth: 110 });
}
