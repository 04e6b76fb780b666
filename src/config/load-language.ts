import { z } from 'zod';
import { ConfigError } from '../core/errors.js';
import type { KeyPath } from '../core/key-path.js';
import { explainIssues } from '../core/schema-problems.js';
import type { RewardDefinition } from '../language/rewards/reward.js';
import type { Catalogue } from './catalogue.js';
import { languageProblems } from './language-checks.js';
import { type LanguageConfig, type LanguageRegistries, languageConfigSchema } from './language-schema.js';
import { type LoadedConfig, readConfigFile, resolveConfig } from './load.js';
import {
  type Improvement,
  type LoadOptions,
  makeImprovement,
  openSource,
  refuse,
  tlsFiles,
  withAbsolutePaths,
} from './resolving.js';
import { configSchema } from './schema.js';
import { type Override, parseValues } from './source.js';

/** A language job's configuration with nothing left to decide. */
export type ResolvedLanguageConfig = LanguageConfig & { readonly learner: { readonly samples: number } };

export interface LoadedLanguageConfig extends Pick<Improvement, 'operator' | 'classifier' | 'warnings'> {
  readonly config: ResolvedLanguageConfig;
  readonly catalogue: Catalogue;
}

/** Keys that name files, but for those of rewards, which say so themselves. */
const fileKeys: readonly KeyPath[] = [
  ['language', 'prompts', 'file'],
  ['language', 'prompts', 'heldOut'],
  ['language', 'dataset', 'file'],
  ['evaluation', 'text'],
  ['language', 'model', 'corpus'],
  ['language', 'model', 'sampler', 'tokenizer'],
  ...[
    ['language', 'model'],
    ['language', 'model', 'sampler'],
    ['language', 'reward'],
  ].flatMap((group) => [...tlsFiles([...group, 'tls']), [...group, 'token', 'file']]),
];

function rewardFiles(values: Record<string, unknown>, { rewards }: Catalogue): KeyPath[] {
  const { reward } = (values.language ?? {}) as { reward?: { name?: string } };
  const definition: RewardDefinition | undefined = rewards
    .definitions()
    .find(({ name }) => name === reward?.name);
  return (definition?.fileSettings ?? []).map((key) => ['language', 'reward', key]);
}

/** Contexts of a data set have as many completions as they have: N is no more than a limit. */
const datasetSamples = 16;

/** What is judged already is taken as it was judged, unless the configuration says otherwise. */
function withDatasetDefaults(values: Record<string, unknown>): Record<string, unknown> {
  const { dataset } = (values.language ?? {}) as { dataset?: unknown };
  return dataset === undefined || values.feedback !== undefined
    ? values
    : { ...values, feedback: { name: 'label' } };
}

/**
 * Checks a language job's configuration and everything it names, and fills in every default.
 * @param file the name used in messages; relative paths are meant from where it is.
 * @throws ConfigError listing every problem with its place and, where there is one, the nearest right key.
 */
export async function resolveLanguageConfig(
  file: string,
  text: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedLanguageConfig> {
  const opened = await openSource(file, text, overrides, options);
  const { source, catalogue, plugins } = opened;
  const values = withDatasetDefaults(opened.values);
  const schema = languageConfigSchema(catalogue);
  const parsed = schema.safeParse(values);
  if (!parsed.success) refuse(source, explainIssues(parsed.error, schema, values));
  const keys = [...fileKeys, ...rewardFiles(values, catalogue)];
  const config = { ...withAbsolutePaths(parsed.data, source, file, keys), plugins: [...plugins] };
  const problems = languageProblems(config, {
    operator: catalogue.operators.get(config.operator.name),
    feedback: catalogue.feedback.get(config.feedback.name),
  });
  if (problems.length > 0) refuse(source, problems);
  const samplesSet =
    config.learner.samples ?? (config.language.dataset === undefined ? undefined : datasetSamples);
  const { samples, feedback, ...improvement } = makeImprovement(opened, config, samplesSet);
  return {
    ...improvement,
    config: schema.parse({
      ...config,
      feedback,
      learner: { ...config.learner, samples },
    }) as ResolvedLanguageConfig,
    catalogue,
  };
}

/** What `pmpo train` can be given. */
export type LoadedJob =
  | ({ readonly kind: 'control' } & LoadedConfig)
  | ({ readonly kind: 'language' } & LoadedLanguageConfig);

/**
 * Checks the configuration of a job of either kind: one that has `language` is a language job.
 * @throws ConfigError as `resolveConfig` and `resolveLanguageConfig`.
 */
export async function resolveJob(
  file: string,
  text: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedJob> {
  const isLanguage =
    parseValues(file, text).language !== undefined || overrides.some(({ path }) => path[0] === 'language');
  return isLanguage
    ? { kind: 'language', ...(await resolveLanguageConfig(file, text, overrides, options)) }
    : { kind: 'control', ...(await resolveConfig(file, text, overrides, options)) };
}

/** Reads and resolves a configuration file. @throws ConfigError when there is no such file, and as `resolveJob`. */
export async function loadJob(
  file: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedJob> {
  return resolveJob(file, await readConfigFile(file), overrides, options);
}

/** Reads and resolves the configuration file of a language job. @throws ConfigError as `loadJob`, and for one of another kind. */
export async function loadLanguageConfig(
  file: string,
  overrides: readonly Override[] = [],
  options: LoadOptions = {},
): Promise<LoadedLanguageConfig> {
  const job = await loadJob(file, overrides, options);
  if (job.kind === 'language') return job;
  throw new ConfigError({
    where: file,
    what: 'this is the configuration of a control job, and one of a language job is needed here',
    remedy: 'Give a configuration with `language`, such as examples/language/tiny.yaml',
  });
}

/** The JSON Schema of a configuration file as a person writes it: what has a default may be left out. */
export function jsonSchema(registries: LanguageRegistries): Record<string, unknown> {
  const options = { io: 'input', unrepresentable: 'any' } as const;
  const control = z.toJSONSchema(configSchema(registries), options);
  const { $schema: _, ...language } = z.toJSONSchema(languageConfigSchema(registries), options);
  const { $schema, ...rest } = control;
  return {
    $schema,
    title: 'pmpo configuration',
    anyOf: [
      { title: 'control: learns in simulators', ...rest },
      { title: 'language: learns from completions', ...language },
    ],
  };
}
