import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { stringify } from 'yaml';
import { ConfigError, PmpoError } from '../errors.js';
import type { FeedbackClassifier } from '../feedback/classifier.js';
import { checkNeeds } from '../operators/check.js';
import type { Operator } from '../operators/operator.js';
import { type Catalogue, createCatalogue } from './catalogue.js';
import { crossCheck } from './checks.js';
import { loadPlugins } from './plugins.js';
import { explainIssues, type Problem } from './problems.js';
import { type Config, configSchema } from './schema.js';
import { type ConfigSource, isGroup, type KeyPath, type Override, readSource, valueAt } from './source.js';

/** A configuration with nothing left to decide. */
export type ResolvedConfig = Config & { readonly learner: { readonly samples: number } };

export interface LoadedConfig {
  readonly config: ResolvedConfig;
  /** Everything that the configuration could name, plugins included. */
  readonly catalogue: Catalogue;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  /** Settings that are legal and risky, in plain sentences to show before a run starts. */
  readonly warnings: readonly string[];
}

const defaultNames: Readonly<Record<string, string>> = { operator: 'pmpo', feedback: 'top-k' };

/** `operator: {alpha: 1}` means the default operator: the name is filled in before the schema chooses by it. */
function withNames(values: Record<string, unknown>): Record<string, unknown> {
  const filled = { ...values };
  for (const [block, name] of Object.entries(defaultNames)) {
    const given = filled[block];
    if (isGroup(given) && given.name === undefined) filled[block] = { name, ...given };
  }
  return filled;
}

/** Plugins as a list of paths; undefined where the schema will complain about it. */
function pluginPaths(given: unknown): readonly string[] | undefined {
  const isPaths = Array.isArray(given) && given.every((path): path is string => typeof path === 'string');
  return isPaths ? given : undefined;
}

function problemLine(source: ConfigSource, { path, what, remedy }: Problem): string {
  return `${source.where(path)}: ${what}${remedy === undefined ? '' : `. ${remedy}`}`;
}

function refuse(source: ConfigSource, problems: readonly Problem[]): never {
  const line = ({ path }: Problem) => source.lineOf(path) ?? Number.POSITIVE_INFINITY;
  const inOrder = problems.toSorted((a, b) => Math.sign(line(a) - line(b)) || 0);
  throw new ConfigError({ what: inOrder.map((problem) => problemLine(source, problem)).join('\n') });
}

/** Makes what a block names; whatever it throws is told at that block's place. */
function make<T>(source: ConfigSource, path: KeyPath, create: () => T): T {
  try {
    return create();
  } catch (cause) {
    const where = source.where(path);
    if (!(cause instanceof PmpoError)) {
      throw new ConfigError({ where, what: cause instanceof Error ? cause.message : String(cause), cause });
    }
    const { what, remedy } = cause.details;
    throw new ConfigError({ where, what, remedy, cause });
  }
}

/** Keys that name files. A path on the command line is meant from where the command is given, one in a file from there. */
const fileKeys: readonly KeyPath[] = [
  ['environment', 'tls', 'ca'],
  ['environment', 'tls', 'certificate'],
  ['environment', 'tls', 'key'],
  ['environment', 'token', 'file'],
  ['replay', 'redisTls', 'ca'],
  ['replay', 'redisTls', 'certificate'],
  ['replay', 'redisTls', 'key'],
  ['replay', 'redisPassword', 'file'],
];

/** Values with the paths of files made absolute, so that the resolved configuration means the same wherever it is put. */
function withAbsolutePaths<T>(values: T, source: ConfigSource, file: string): T {
  const copy = structuredClone(values);
  for (const path of fileKeys) {
    const group = valueAt(copy, path.slice(0, -1));
    const key = String(path.at(-1));
    if (!isGroup(group) || typeof group[key] !== 'string') continue;
    const base = source.overrideOf(path) === undefined ? dirname(resolve(file)) : process.cwd();
    group[key] = resolve(base, group[key]);
  }
  return copy;
}

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

/** The settings of a block without the name that chose it. */
function settingsOf({ name: _, ...settings }: { name: string } & Record<string, unknown>) {
  return settings;
}

/**
 * Checks a configuration's text and everything it names, and fills in every default.
 * @param file the name used in messages; relative plugins are looked for beside it.
 * @throws ConfigError listing every problem with its place and, where there is one, the nearest right key.
 */
export async function resolveConfig(
  file: string,
  text: string,
  overrides: readonly Override[] = [],
): Promise<LoadedConfig> {
  const source = readSource(file, text, overrides);
  const values = withNames(source.values);
  // A path on the command line is meant from where the command is given, one in a file from where the file is.
  const isTyped = source.overrideOf(['plugins']) !== undefined;
  const pluginBase = isTyped ? process.cwd() : dirname(resolve(file));
  const paths = pluginPaths(values.plugins) ?? [];
  const catalogue = createCatalogue();
  await loadPlugins(paths, catalogue, pluginBase);

  const schema = configSchema(catalogue);
  const parsed = schema.safeParse(values);
  if (!parsed.success) refuse(source, explainIssues(parsed.error, schema, values));
  const config = {
    ...withAbsolutePaths(parsed.data, source, file),
    plugins: paths.map((path) => resolve(pluginBase, path)),
  };
  const problems = [
    ...crossCheck(config, catalogue.simulators.names()),
    ...simulatorProblems(config, catalogue.simulators),
  ];
  if (problems.length > 0) refuse(source, problems);

  const operatorDefinition = catalogue.operators.get(config.operator.name);
  const samples = config.learner.samples ?? operatorDefinition.defaultSamples;
  const operator = make(source, ['operator'], () => operatorDefinition.create(settingsOf(config.operator)));
  const feedbackDefinition = catalogue.feedback.get(config.feedback.name);
  const given = settingsOf(config.feedback);
  const feedback = feedbackDefinition.complete?.(given, samples) ?? given;
  const classifier = make(source, ['feedback'], () => feedbackDefinition.create(feedback, samples));
  make(source, ['operator'], () =>
    checkNeeds(config.operator.name, operator.needs, config.feedback.name, classifier.provides),
  );
  const rejectShare = classifier.rejectShare?.(samples);
  return {
    // Once more through the schema, so that what is filled in stands where the schema has it.
    config: schema.parse({
      ...config,
      feedback: { name: config.feedback.name, ...feedback },
      learner: { ...config.learner, samples },
    }) as ResolvedConfig,
    catalogue,
    operator,
    classifier,
    warnings: operator.warnings?.({ rejectShare, samples }) ?? [],
  };
}

/**
 * Reads and resolves a configuration file.
 * @throws ConfigError when there is no such file, and as `resolveConfig`.
 */
export async function loadConfig(file: string, overrides: readonly Override[] = []): Promise<LoadedConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new ConfigError({
      where: file,
      what: missing ? 'there is no such file' : `it cannot be read: ${(cause as Error).message}`,
      remedy: 'Give the path of a configuration, such as examples/cartpole.yaml',
      cause,
    });
  }
  return resolveConfig(file, text, overrides);
}

/** A resolved configuration as the text of a file that loads again and means the same. */
export function configText(config: ResolvedConfig): string {
  return stringify(config, { lineWidth: 110 });
}
