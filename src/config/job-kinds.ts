import { z } from 'zod';
import { isGroup, type KeyPath, valueAt } from '../core/key-path.js';
import { explainIssues, type Problem } from '../core/schema-problems.js';
import { withoutType } from '../dm-env-rpc/codec/settings.js';
import { sequenceKl } from '../language/trainable-model.js';
import type { Operator, RegisteredOperator } from '../operators/operator.js';
import type { Catalogue } from './catalogue.js';
import { crossCheck, environmentProblems, networkProblems } from './control-checks.js';
import { type Config, configSchema } from './control-schema.js';
import { tlsFiles } from './file-keys.js';
import type { Named } from './improvement.js';
import { languageProblems } from './language-checks.js';
import { type LanguageConfig, type LanguageRegistries, languageConfigSchema } from './language-schema.js';
import { offlineProblems, offlineWarnings } from './offline-checks.js';
import { type OfflineConfig, offlineConfigSchema } from './offline-schema.js';

type Values = Readonly<Record<string, unknown>>;

/** The settings that jobs of every kind have, as far as the loader needs them. */
export interface AnyJobConfig {
  readonly plugins: string[];
  readonly operator: Named;
  readonly feedback: Named;
  readonly learner: { readonly samples?: number; readonly batchSize: number };
}

/** The properties of one kind of job that the loader needs. */
export interface JobKind<C extends AnyJobConfig> {
  schema(catalogue: Catalogue): z.ZodType<C>;
  /** Fills in those defaults of a configuration, not yet validated, that depend on its other settings. */
  withDefaults(values: Values, catalogue: Catalogue): Values;
  /** The keys whose values are paths of files. */
  fileKeys(values: Values, catalogue: Catalogue): readonly KeyPath[];
  /** Whether the job computes the exact KL or estimates it from samples. */
  kl(config: C): 'exact' | 'sampled';
  /** Whether samples are sequences of tokens, which have a length. */
  readonly sequences: boolean;
  /** The names of the parts that the KL of the job's policy can have. */
  readonly klParts: readonly string[];
  /** Samples of each context that the operator sees. Left out: N. */
  operatorSamples?(config: C, samples: number): number;
  /** How a context gets more samples; default: by learner.samples. */
  readonly samplesRemedy?: string;
  /** Whether V(x) is known besides the samples of a context. Default: false. */
  readonly baseline?: boolean;
  /** All warnings, from those of the operator itself, `own`. Left out: these. */
  warnings?(
    config: C,
    operator: Operator,
    rejectShare: number | undefined,
    own: readonly string[],
  ): readonly string[];
  /** Finds settings that are valid one by one and contradict each other. */
  crossCheck(config: C, catalogue: Catalogue): Problem[];
}

/** `values` with a default at `group.key`, unless that key has a value or the group is not a group. */
export function withDefault(values: Values, group: string, key: string, value: unknown): Values {
  const given = values[group] === undefined ? {} : values[group];
  if (!isGroup(given) || given[key] !== undefined) return values;
  return { ...values, [group]: { ...given, [key]: value } };
}

/** Problems in the settings of an embedded simulator; a remote server checks its own. */
function simulatorProblems(
  { environment }: Pick<Config, 'environment'>,
  simulators: Catalogue['simulators'],
): Problem[] {
  const { address, simulator, createSettings } = environment;
  if (address !== undefined || simulator === undefined || !simulators.names().includes(simulator)) return [];
  const { settings } = simulators.get(simulator);
  const plain = Object.fromEntries(
    Object.entries(createSettings).map(([name, setting]) => [name, withoutType(name, setting)]),
  );
  const { error } = settings.safeParse(plain);
  if (error === undefined) return [];
  return explainIssues(error, settings, plain).map((problem) => ({
    ...problem,
    path: ['environment', 'createSettings', ...problem.path],
  }));
}

/** A weight of a sequence's KL, which the policies of control jobs do not have. */
function sequenceProblems(
  { operator: { name: _, ...settings } }: Pick<Config, 'operator'>,
  operator: RegisteredOperator,
): Problem[] {
  if (!operator.klParts(settings).includes(sequenceKl)) return [];
  const remedy = 'Set operator.beta, or operator.kl.mean, covariance or categorical';
  return [{ path: ['operator', 'kl', sequenceKl], what: 'exists in language jobs only', remedy }];
}

const controlFileKeys: readonly KeyPath[] = [
  ...tlsFiles(['environment', 'tls']),
  ['environment', 'token', 'file'],
  ...tlsFiles(['replay', 'redisTls']),
  ['replay', 'redisPassword', 'file'],
];

/** Jobs that learn in simulators. */
export const controlJob: JobKind<Config> = {
  schema: configSchema,
  withDefaults(values, { feedback }) {
    // A configuration that sets N, or ranks samples, means N samples and not all actions weighted by their probabilities.
    const samples = isGroup(values.learner) ? values.learner.samples : undefined;
    const name = isGroup(values.feedback) ? values.feedback.name : undefined;
    const ranks = feedback.definitions().some((known) => known.name === name && known.comparesSamples);
    return samples === undefined && !ranks ? values : withDefault(values, 'learner', 'allActionsUpTo', 0);
  },
  fileKeys: (values, { feedback }) => [
    ...controlFileKeys,
    ...definedFileKeys(values, ['feedback'], feedback.definitions()),
  ],
  kl: () => 'exact',
  sequences: false,
  klParts: ['mean', 'covariance', 'categorical'],
  crossCheck: (config, { simulators, operators }) => [
    ...crossCheck(config, simulators.names()),
    ...simulatorProblems(config, simulators),
    ...sequenceProblems(config, operators.get(config.operator.name)),
  ],
};

const offlineFileKeys: readonly KeyPath[] = [
  ['dataset', 'file'],
  ...tlsFiles(['environment', 'tls']),
  ['environment', 'token', 'file'],
];

/** Jobs that learn from fixed transitions. */
export const offlineJob: JobKind<OfflineConfig> = {
  schema: offlineConfigSchema,
  withDefaults: (values) => values,
  fileKeys: (values, { feedback }) => [
    ...offlineFileKeys,
    ...definedFileKeys(values, ['feedback'], feedback.definitions()),
  ],
  kl: () => 'exact',
  sequences: false,
  klParts: ['mean', 'covariance', 'categorical'],
  baseline: true,
  samplesRemedy: 'Set learner.actions to policy or both',
  operatorSamples: ({ learner }, samples) =>
    ({ data: 1, policy: samples, both: samples + 1 })[learner.actions],
  warnings: offlineWarnings,
  crossCheck: (config, { simulators, operators }) => {
    const { environment } = config;
    return [
      ...offlineProblems(config),
      ...networkProblems(config),
      ...(environment === undefined
        ? []
        : [
            ...environmentProblems({ environment }, simulators.names()),
            ...simulatorProblems({ environment }, simulators),
          ]),
      ...sequenceProblems(config, operators.get(config.operator.name)),
    ];
  },
};

const languageFileKeys: readonly KeyPath[] = [
  ['language', 'prompts', 'file'],
  ['language', 'prompts', 'heldOut'],
  ['language', 'dataset', 'file'],
  ['evaluation', 'text'],
  ['evaluation', 'judge'],
  ['language', 'model', 'corpus'],
  ['language', 'model', 'sampler', 'tokenizer'],
  ...[
    ['language', 'model'],
    ['language', 'model', 'sampler'],
    ['language', 'reward'],
  ].flatMap((group) => [...tlsFiles([...group, 'tls']), [...group, 'token', 'file']]),
];

/** The keys of a group that name files, as the definition that the group chooses by its name lists them. */
function definedFileKeys(
  values: Values,
  group: KeyPath,
  definitions: readonly { readonly name: string; readonly fileSettings?: readonly string[] }[],
): KeyPath[] {
  const chosen = valueAt(values, group);
  const definition = isGroup(chosen) ? definitions.find(({ name }) => name === chosen.name) : undefined;
  return (definition?.fileSettings ?? []).map((key) => [...group, ...key.split('.')]);
}

/** The most completions of one context that are learned from: a data set has as many as it has, and N is only a limit. */
const datasetSamples = 16;

/** Jobs that learn from the completions of a language model. */
export const languageJob: JobKind<LanguageConfig> = {
  schema: languageConfigSchema,
  withDefaults(values) {
    if (!isGroup(values.language) || values.language.dataset === undefined) return values;
    // The rows of a data set carry labels: they are the feedback unless the configuration names another.
    const labeled = values.feedback === undefined ? { ...values, feedback: { name: 'label' } } : values;
    return withDefault(labeled, 'learner', 'samples', datasetSamples);
  },
  fileKeys: (values, { feedback, rewards }) => [
    ...languageFileKeys,
    ...definedFileKeys(values, ['feedback'], feedback.definitions()),
    ...definedFileKeys(values, ['language', 'reward'], rewards.definitions()),
  ],
  kl: ({ language }) => language.kl,
  sequences: true,
  klParts: [sequenceKl],
  crossCheck: (config, { operators, feedback }) =>
    languageProblems(config, {
      operator: operators.get(config.operator.name),
      feedback: feedback.get(config.feedback.name),
    }),
};

/**
 * The JSON Schema of a configuration file as a person writes it: keys that have a default may be left out. A file that names plugins may
 * hold what they add, which the schema cannot know.
 */
export function jsonSchema(registries: LanguageRegistries): Record<string, unknown> {
  const options = { io: 'input', unrepresentable: 'any' } as const;
  const { $schema, ...control } = z.toJSONSchema(configSchema(registries), options);
  const { $schema: __, ...offline } = z.toJSONSchema(offlineConfigSchema(registries), options);
  const { $schema: _, ...language } = z.toJSONSchema(languageConfigSchema(registries), options);
  return {
    $schema,
    title: 'pmpo configuration',
    anyOf: [
      { title: 'control: learns in simulators', ...control },
      { title: 'language: learns from completions', ...language },
      { title: 'offline: learns from fixed transitions', ...offline },
      {
        title: 'with plugins, which add names and settings',
        type: 'object',
        properties: { plugins: { type: 'array', items: { type: 'string' }, minItems: 1 } },
        required: ['plugins'],
      },
    ],
  };
}
