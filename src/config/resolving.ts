import { dirname, resolve } from 'node:path';
import { ConfigError, PmpoError } from '../core/errors.js';
import { isGroup, type KeyPath, valueAt } from '../core/key-path.js';
import type { Problem } from '../core/schema-problems.js';
import type { FeedbackClassifier } from '../feedback/classifier.js';
import { checkNeeds } from '../operators/check.js';
import type { Operator } from '../operators/operator.js';
import type { PublicModules } from '../system/user-module.js';
import { type Catalogue, createCatalogue } from './catalogue.js';
import { loadPlugins } from './plugins.js';
import { renamedKeyProblems, withCurrentKeys } from './renamed-keys.js';
import { type ConfigSource, type Override, readSource } from './source.js';

/** The steps by which a text becomes a configuration, for jobs of all kinds. */

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

export function refuse(source: ConfigSource, problems: readonly Problem[]): never {
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

/** Values with the paths of files made absolute, so that the resolved configuration means the same wherever it is put. */
export function withAbsolutePaths<T>(
  values: T,
  source: ConfigSource,
  file: string,
  fileKeys: readonly KeyPath[],
): T {
  const baseOf = (path: KeyPath) =>
    source.overrideOf(path) === undefined ? dirname(resolve(file)) : process.cwd();
  return resolvedPaths(values, fileKeys, baseOf);
}

/** A copy of values in which the texts at these keys, where there are any, are paths from the folder that `baseOf` gives. */
export function resolvedPaths<T>(
  values: T,
  fileKeys: readonly KeyPath[],
  baseOf: (path: KeyPath) => string,
): T {
  const copy = structuredClone(values);
  for (const path of fileKeys) {
    const group = valueAt(copy, path.slice(0, -1));
    const key = String(path.at(-1));
    if (isGroup(group) && typeof group[key] === 'string') group[key] = resolve(baseOf(path), group[key]);
  }
  return copy;
}

/** The keys that name files in a group of TLS settings. */
export function tlsFiles(group: KeyPath): KeyPath[] {
  return ['ca', 'certificate', 'key'].map((key) => [...group, key]);
}

/** The settings of a block without the name that chose it. */
export function settingsOf({ name: _, ...settings }: { name: string } & Record<string, unknown>) {
  return settings;
}

export interface LoadOptions {
  /** Modules that plugins and reward programs may import from this package; by default they resolve 'pmpo' from their own folder. */
  readonly modules?: PublicModules;
  /**
   * What to do with a key that has another name now (see renamed-keys.ts): `refuse` it, which is the default, or `read` it,
   * for the config.yaml in the folder of a run that an older version made.
   */
  readonly renamedKeys?: 'refuse' | 'read';
}

/** A configuration's text with the command line's settings over it, and everything that it can name. */
export interface OpenedSource {
  readonly source: ConfigSource;
  readonly values: Record<string, unknown>;
  readonly catalogue: Catalogue;
  /** Absolute. */
  readonly plugins: readonly string[];
}

/**
 * Reads a configuration's text and loads its plugins.
 * @param file the name used in messages; relative plugins are looked for beside it.
 * @throws ConfigError for text that cannot be read, keys that have another name now, and plugins that do not load.
 */
export async function openSource(
  file: string,
  text: string,
  overrides: readonly Override[],
  { modules = {}, renamedKeys = 'refuse' }: LoadOptions,
): Promise<OpenedSource> {
  const source = readSource(file, text, overrides);
  const renamed = renamedKeys === 'refuse' ? renamedKeyProblems(source.values) : [];
  if (renamed.length > 0) refuse(source, renamed);
  const values = withNames(withCurrentKeys(source.values));
  // A path on the command line is meant from where the command is given, one in a file from where the file is.
  const isTyped = source.overrideOf(['plugins']) !== undefined;
  const pluginBase = isTyped ? process.cwd() : dirname(resolve(file));
  const paths = pluginPaths(values.plugins) ?? [];
  const catalogue = createCatalogue(modules);
  await loadPlugins(paths, catalogue, pluginBase, modules);
  return { source, values, catalogue, plugins: paths.map((path) => resolve(pluginBase, path)) };
}

type Named = { readonly name: string } & Record<string, unknown>;

/** What a configuration improves its policy with. */
export interface Improvement {
  /** N. */
  readonly samples: number;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  /** The feedback block with what depends on N filled in. */
  readonly feedback: Named;
  /** Settings that are legal and risky, in plain sentences to show before a run starts. */
  readonly warnings: readonly string[];
}

/**
 * Makes the operator and the feedback classifier that a configuration names, and sees that they fit each other.
 * @param samplesSet N where it is set; default: what the operator prefers.
 * @throws ConfigError with the place of what does not fit.
 */
export function makeImprovement(
  { source, catalogue }: OpenedSource,
  config: { readonly operator: Named; readonly feedback: Named },
  samplesSet: number | undefined,
): Improvement {
  const operatorDefinition = catalogue.operators.get(config.operator.name);
  const samples = samplesSet ?? operatorDefinition.defaultSamples;
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
    samples,
    operator,
    classifier,
    feedback: { name: config.feedback.name, ...feedback },
    warnings: operator.warnings?.({ rejectShare, samples }) ?? [],
  };
}
