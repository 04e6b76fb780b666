import { ConfigError, PmpoError } from '../../core/errors.js';
import { mean, median } from '../../core/statistics.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import { createFeedbackRegistry } from '../../feedback/registry.js';
import type { BanditMethod, BanditResult, SearchTrace } from '../../learners/bandit/config.js';
import { checkNeeds } from '../../operators/needs.js';
import { createOperatorRegistry } from '../../operators/registry.js';
import type { SearchConfig, StudyMethod } from './schema.js';

/** The choice of a method's settings: every combination of the values to choose from is tried, and the one with the least score is taken. */

/** The settings of a method that were tried or chosen, by name. */
export type Settings = Readonly<Record<string, number | string>>;

/** A method with one combination of its settings. */
export interface Candidate extends BanditMethod {
  /** The method of the study, of which this is one combination. */
  readonly of: string;
  readonly settings: Settings;
}

/** How a candidate did. */
export interface TuningRow {
  readonly method: string;
  readonly settings: Settings;
  /** The median over the seeds of the score of a search; infinite if half of the searches were lost. */
  readonly score: number;
  /** The number of searches that were lost. */
  readonly lost: number;
  readonly chosen: boolean;
}

/** Every combination of one value for each key. */
export function combinations(tune: Readonly<Record<string, readonly (number | string)[]>>): Settings[] {
  return Object.entries(tune).reduce<Settings[]>(
    (all, [key, values]) => all.flatMap((settings) => values.map((value) => ({ ...settings, [key]: value }))),
    [{}],
  );
}

/** `values` with `value` at a dotted path; groups on the way are copied or made. */
function withValue(
  values: Readonly<Record<string, unknown>>,
  path: string,
  value: unknown,
): Record<string, unknown> {
  const [key = '', ...rest] = path.split('.');
  if (rest.length === 0) return { ...values, [key]: value };
  const inner = (values[key] ?? {}) as Record<string, unknown>;
  return { ...values, [key]: withValue(inner, rest.join('.'), value) };
}

/**
 * The candidates of a method, one for each combination of its settings.
 * @param where the method's place, for messages
 * @throws ConfigError if the operator or one of its settings is unknown or out of range, or the feedback is not what it needs.
 */
export function candidatesOf(
  where: string,
  name: string,
  { operator: given, learningRate, tune }: StudyMethod,
  { feedback, learner }: SearchConfig,
  classifier: FeedbackClassifier,
): Candidate[] {
  const { name: operatorName, ...fixed } = given;
  return combinations(tune).map((settings) => {
    const { learningRate: tuned, ...ofOperator } = settings;
    const rate = tuned ?? learningRate;
    if (typeof rate !== 'number' || !(rate > 0)) {
      throw new ConfigError({
        where: `${where}.learningRate`,
        what: 'it is missing',
        remedy: 'Set it, or tune.learningRate to a list of numbers',
      });
    }
    const all = Object.entries(ofOperator).reduce<Record<string, unknown>>(
      (values, [path, value]) => withValue(values, path, value),
      fixed,
    );
    const operator = at(`${where}.operator`, () => {
      const made = createOperatorRegistry().get(operatorName).create(all);
      checkNeeds(operatorName, made.needs, feedback.name, classifier.provides, {
        samples: learner.samples,
        contexts: learner.contexts,
        sequences: false,
        kl: 'exact',
      });
      return made;
    });
    const words = Object.entries(settings).map(([key, value]) => `${key} ${value}`);
    return { name: [name, ...words].join(', '), of: name, settings, operator, learningRate: rate };
  });
}

/** The classifier of a search. @throws ConfigError if it or one of its settings is unknown or out of range. */
export function classifierOf(where: string, { feedback: given, learner }: SearchConfig): FeedbackClassifier {
  const { name, ...settings } = given;
  return at(`${where}.feedback`, () => createFeedbackRegistry().get(name).create(settings, learner.samples));
}

/** Calls `make`. @throws ConfigError at `where` for what it throws. */
function at<T>(where: string, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof PmpoError)) throw cause;
    const { what, remedy } = cause.details;
    throw new ConfigError({ where, what, remedy, cause });
  }
}

/** What counts as 0 in a score: about what float32 leaves of a sum. */
const leastValue = 1e-8;

/** The geometric mean of f over the points of a search after its start: low if it falls early and far. Infinite if it was lost. */
function scoreOf({ points, outcome }: SearchTrace): number {
  if (outcome !== 'finished') return Number.POSITIVE_INFINITY;
  const after = points.slice(1).map(({ value }) => Math.log(Math.max(leastValue, value)));
  return Math.exp(mean(after));
}

/** How each candidate did, and the best of each method. Of equals, the first is taken. */
export function judge(
  candidates: readonly Candidate[],
  { traces }: BanditResult,
): { readonly rows: readonly TuningRow[]; readonly chosen: ReadonlyMap<string, Candidate> } {
  const results = candidates.map((candidate) => {
    const own = traces.filter(({ method }) => method === candidate.name);
    const lost = own.filter(({ outcome }) => outcome !== 'finished').length;
    return { candidate, score: median(own.map(scoreOf)), lost };
  });
  const best = new Map<string, (typeof results)[number]>();
  for (const result of results) {
    const before = best.get(result.candidate.of);
    if (before === undefined || result.score < before.score) best.set(result.candidate.of, result);
  }
  return {
    rows: results.map((result) => ({
      method: result.candidate.of,
      settings: result.candidate.settings,
      score: result.score,
      lost: result.lost,
      chosen: best.get(result.candidate.of) === result,
    })),
    chosen: new Map([...best].map(([name, { candidate }]) => [name, { ...candidate, name }])),
  };
}
