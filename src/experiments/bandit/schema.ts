import { parse } from 'yaml';
import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import { formatPath, isGroup } from '../../core/key-path.js';
import { nearest } from '../../core/nearest.js';
import { explainIssues } from '../../core/schema-problems.js';
import { benchmarkFunctions } from '../../learners/bandit/functions.js';
import { layered, scaleOf } from '../study/plan.js';
import { slug } from '../study/schema.js';

/** A study of bandits: methods that search for the minimum of benchmark functions, and the figures drawn from it. */

const functionName = z
  .enum(benchmarkFunctions.map(({ name }) => name) as [string, ...string[]])
  .describe('A benchmark function');
const share = z.number().min(0).max(1);
const seeds = z.int().min(1);
const copies = z.int().min(1).describe('How often the policy is copied to its reference');
const named = z.looseObject({ name: z.string() });

const policy = z.discriminatedUnion('head', [
  z.strictObject({
    head: z.literal('gaussian'),
    initialStddev: z
      .number()
      .positive()
      .default(0.3)
      .describe('Standard deviation at the start, in half-widths of the domain'),
  }),
  z.strictObject({
    head: z.literal('categorical'),
    bins: z.int().min(2).default(41).describe('Number of values of each dimension'),
  }),
]);

const learnerConfig = z.strictObject({
  dimensions: z.int().min(1).default(2).describe('D, the number of variables'),
  policy: policy.prefault({ head: 'gaussian' }),
  reference: z
    .strictObject({
      period: z.int().min(1).default(20).describe('Updates between two copies'),
      copies: copies.default(400),
    })
    .prefault({}),
  learner: z
    .strictObject({
      samples: z.int().min(1).default(4).describe('N, samples of each context'),
      contexts: z.int().min(1).default(1).describe('Contexts of N samples in each update'),
      decayFrom: share
        .default(1)
        .describe('Share of a search after which learning rates decay linearly to a twentieth; 1: never'),
    })
    .prefault({}),
  feedback: named.prefault({ name: 'top-k' }).describe('The classifier, with its settings'),
});

const tune = z.record(z.string(), z.array(z.union([z.number(), z.string()])).min(1)).default({});

const method = z.strictObject({
  operator: named.describe(
    'The operator with its settings. Without `beta` or bounds, no default of a job replaces them',
  ),
  learningRate: z.number().positive().optional().describe("Adam's step size"),
  tune: tune.describe(
    'Values to choose from, by `learningRate` or a setting of the operator such as `beta` or `kl.mean.epsilon`; every combination is tried',
  ),
});

const search = z.strictObject({
  title: z.string(),
  functions: z.array(functionName).min(1),
  methods: z.array(z.string()).min(1).optional().describe('Default: every method'),
  config: z.record(z.string(), z.unknown()).default({}).describe('Part of the settings that replaces `base`'),
  tune: tune.describe('Values to choose from, which replace those of the same name of each method'),
  tunedBy: z.string().optional().describe('Another search, whose tuned settings are taken. Default: its own'),
  score: z
    .enum(['end', 'search'])
    .default('end')
    .describe('What settings are chosen for: f at the end, or f over the whole search'),
  cmaEs: z.boolean().default(true).describe('Whether CMA-ES searches too, for comparison'),
});

const banditSchema = z.strictObject({
  plugins: z.array(z.string()).default([]).describe('Paths of modules that export `register(registry)`'),
  seeds: seeds.describe('Searches of each method on each function; their seeds count up from 0'),
  base: z.record(z.string(), z.unknown()).default({}).describe('Settings of all searches'),
  methods: z.record(z.string().min(1), method),
  tuning: z
    .strictObject({ function: functionName, seeds, copies })
    .optional()
    .describe(
      'How settings are tuned: on a function that no figure shows, with seeds of its own; not needed where no method has settings to choose from',
    ),
  searches: z.record(slug, search),
  contours: z
    .strictObject({
      search: z.string(),
      functions: z.array(functionName).min(1),
      seed: z.int().min(0).default(0),
    })
    .optional()
    .describe('Pictures of the paths of one seed over the contours of functions of two variables'),
  stability: z
    .strictObject({
      functions: z.array(functionName).min(1),
      alpha: z.array(share).min(1),
      beta: z.array(z.number().min(0)).min(1),
      learningRate: z.number().positive(),
      seeds,
      copies,
      config: z.record(z.string(), z.unknown()).default({}),
    })
    .optional()
    .describe('The map of what becomes of PMPO at each alpha and beta'),
});

const scalesSchema = z.record(slug, z.record(z.string(), z.unknown()));

/** The settings of the searches of a figure, and the classifier. */
export type SearchConfig = z.output<typeof learnerConfig>;
/** A study of bandits at one scale. */
export type BanditStudy = z.output<typeof banditSchema>;
export type StudySearch = BanditStudy['searches'][string];
export type StudyMethod = BanditStudy['methods'][string];

/** Whether the text of a study is one of bandits. Text that is not YAML is not. */
export function isBanditStudy(text: string): boolean {
  try {
    const study: unknown = parse(text);
    return typeof study === 'object' && study !== null && 'bandit' in study;
  } catch {
    return false;
  }
}

function checked<S extends z.ZodType>(where: string, schema: S, values: unknown): z.output<S> {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const lines = explainIssues(parsed.error, schema as unknown as z.ZodObject, values).map(
    ({ path, what, remedy }) =>
      `${[where, formatPath(path)].filter((part) => part !== '').join(': ')}: ${what}${remedy === undefined ? '' : `. ${remedy}`}`,
  );
  throw new ConfigError({ what: lines.join('\n') });
}

/**
 * Reads the text of a study of bandits at one scale: what the scale sets replaces what `bandit` sets.
 * @param file the name to use in messages
 * @throws ConfigError that lists what is wrong with it, or its scales if `scale` is none of them.
 */
export function parseBanditStudy(file: string, text: string, scale: string): BanditStudy {
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw new ConfigError({ where: file, what: String((cause as Error).message).split('\n')[0], cause });
  }
  const root = checked(
    file,
    z.strictObject({ bandit: z.record(z.string(), z.unknown()), scales: scalesSchema.default({ full: {} }) }),
    document,
  );
  const study = checked(`${file}: bandit`, banditSchema, layered(root.bandit, scaleOf(root, scale)));
  const problems = mistakes(study);
  if (problems.length > 0) {
    throw new ConfigError({ what: problems.map((problem) => `${file}: bandit.${problem}`).join('\n') });
  }
  return study;
}

/** Names that do not exist, one line for each. */
function mistakes({ methods, searches, contours }: BanditStudy): string[] {
  const problems: string[] = [];
  const check = (where: string, name: string, known: readonly string[]) => {
    if (known.includes(name)) return;
    const guess = nearest(name, known);
    problems.push(
      `${where}: unknown name '${name}'${guess === undefined ? '' : `. Did you mean '${guess}'?`}`,
    );
  };
  for (const [name, { methods: shown = [], tunedBy }] of Object.entries(searches)) {
    for (const one of shown) check(`searches.${name}.methods`, one, Object.keys(methods));
    if (tunedBy === undefined) continue;
    check(`searches.${name}.tunedBy`, tunedBy, Object.keys(searches));
    if (searches[tunedBy]?.tunedBy !== undefined)
      problems.push(`searches.${name}.tunedBy: '${tunedBy}' is not tuned itself`);
  }
  if (contours !== undefined) {
    check('contours.search', contours.search, Object.keys(searches));
    for (const fn of contours.functions)
      check('contours.functions', fn, searches[contours.search]?.functions ?? []);
  }
  return problems;
}

/** The settings of a search: those of `base` with those of `config` over them. @throws ConfigError as `parseBanditStudy`. */
export function searchConfig(
  where: string,
  base: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
): SearchConfig {
  const merged = layered(base, config);
  // The settings of one head do not apply to another.
  const [below, above] = [base.policy, config.policy];
  const isOther = isGroup(below) && isGroup(above) && above.head !== undefined && above.head !== below.head;
  return checked(where, learnerConfig, isOther ? { ...merged, policy: above } : merged);
}
