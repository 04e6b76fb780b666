import type { Catalogue } from '../../config/catalogue.js';
import { ConfigError, PmpoError } from '../../core/errors.js';
import { mean, median } from '../../core/statistics.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { BanditMethod, BanditResult, SearchTrace } from '../../learners/bandit/config.js';
import { checkNeeds } from '../../operators/needs.js';
import { layered } from '../study/plan.js';
import type { SearchConfig, StudyMethod, StudySearch } from './schema.js';

/** The choice of a method's settings: every combination of the values to choose from is tried, and the one with the least score is taken. */

/** The operators and classifiers that a study can name, those of its plugins included. */
export type StudyNames = Pick<Catalogue, 'operators' | 'feedback'>;

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

/** Groups that hold `value` at a dotted path. */
const nested = (path: string, value: unknown) =>
  path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Record<string, unknown>;

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
  { operators }: Pick<StudyNames, 'operators'>,
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
      (values, [path, value]) => layered(values, nested(path, value)),
      fixed,
    );
    const operator = at(`${where}.operator`, () => {
      const made = operators.get(operatorName).create(all);
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
export function classifierOf(
  where: string,
  { feedback: given, learner }: SearchConfig,
  { feedback }: Pick<StudyNames, 'feedback'>,
): FeedbackClassifier {
  const { name, ...settings } = given;
  const classifier = at(`${where}.feedback`, () => feedback.get(name).create(settings, learner.samples));
  if (classifier.classifyOnHost === undefined || classifier.open === undefined) return classifier;
  throw new ConfigError({
    where: `${where}.feedback`,
    what: `'${name}' is a program or a service, which a study of bandits does not open`,
    remedy: 'Choose a classifier that runs in this process, such as top-k',
  });
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

/** The share of a search that is its end: long enough that one copy of the reference does not decide. */
const endShare = 0.1;

/** The geometric mean of f over the end of a search, or over the whole of it after its start. Infinite if it was lost. */
function scoreOf({ points, outcome }: SearchTrace, score: StudySearch['score']): number {
  if (outcome !== 'finished') return Number.POSITIVE_INFINITY;
  const from = score === 'end' ? Math.min(points.length - 1, Math.ceil(points.length * (1 - endShare))) : 1;
  return Math.exp(mean(points.slice(from).map(({ value }) => Math.log(Math.max(leastValue, value)))));
}

/**
 * How each candidate did, and the best of each method: the one with the least median score; of equals, which reach 0, the one whose median
 * over the whole search is least, and then the first.
 */
export function judge(
  candidates: readonly Candidate[],
  { traces }: BanditResult,
  score: StudySearch['score'],
): { readonly rows: readonly TuningRow[]; readonly chosen: ReadonlyMap<string, Candidate> } {
  const results = candidates.map((candidate) => {
    const own = traces.filter(({ method }) => method === candidate.name);
    const lost = own.filter(({ outcome }) => outcome !== 'finished').length;
    const middle = (by: StudySearch['score']) => median(own.map((trace) => scoreOf(trace, by)));
    return { candidate, score: middle(score), whole: middle('search'), lost };
  });
  const best = new Map<string, (typeof results)[number]>();
  for (const result of results) {
    const before = best.get(result.candidate.of);
    const isBetter =
      before === undefined ||
      result.score < before.score ||
      (result.score === before.score && result.whole < before.whole);
    if (isBetter) best.set(result.candidate.of, result);
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
