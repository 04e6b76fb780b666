import type { HeadSettings } from '../../distributions/create.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { Operator } from '../../operators/operator.js';

/** Says, while a run trains, when nothing can be learned any more, and which setting helps. It reads nothing but the run's metrics. */

/** What the policy's head and the operator mean for the watch. */
export interface WatchedPolicy {
  readonly head: 'gaussian' | 'categorical';
  /** Floor of a Gaussian's standard deviation. */
  readonly minStddev: number;
  /** The entropy of the uniform distribution over all actions, nats (categorical head). */
  readonly largestEntropy: number;
  /** The sentence with the operator's own setting that keeps the policy exploring. */
  readonly remedy: string;
}

/**
 * What the watch must know of a policy and its operator.
 * @param actionValues the number of values of each action dimension, 0 for a continuous one, [A].
 */
export function watchedPolicy(
  { name: head }: Pick<DistributionFamily, 'name'>,
  { minStddev, bins }: Pick<HeadSettings, 'minStddev' | 'bins'>,
  actionValues: ArrayLike<number>,
  operator: Pick<Operator, 'explorationRemedy'>,
): WatchedPolicy {
  const remedy =
    operator.explorationRemedy?.(head === 'gaussian' ? 'covariance' : 'categorical') ??
    'Lower learner.learningRate, or hold the policy closer to its reference';
  const largestEntropy = Array.from(actionValues).reduce((sum, count) => sum + Math.log(count || bins), 0);
  return { head, minStddev, largestEntropy, remedy };
}

/** The metrics of a report: means since the report before. */
type Metrics = Readonly<Record<string, number | undefined>>;

/** A state in which a run does not learn. */
interface Trouble {
  readonly name: string;
  /** What is the matter, with the setting that helps; undefined if all is well or the metrics do not say. */
  find(metrics: Metrics, policy: WatchedPolicy): string | undefined;
}

/** A standard deviation below this many times its floor counts as being at the floor. */
const nearFloor = 1.5;
/** A categorical whose entropy is less than this share of the largest one takes nearly always the same action. */
const leastEntropyShare = 0.02;
/** Samples are alike if this share of the contexts has samples of one value. */
const largestTieRate = 0.9;
/** The values of a context's samples differ too little if they differ by less than this share of what the contexts' values do. */
const leastSampleShare = 1e-5;
/** Reports in a row that must show the same trouble, so that a moment does not count. */
const reportsInARow = 2;
/** The share of the run after which a policy may have stopped exploring for good reason. */
const lastQuarter = 0.75;

const significant = (value: number) => String(Number(value.toPrecision(2)));

function lostExploration(metrics: Metrics, policy: WatchedPolicy): string | undefined {
  const { 'policy/stddev': stddev, 'policy/entropy': entropy } = metrics;
  if (policy.head === 'gaussian') {
    if (stddev === undefined || stddev > nearFloor * policy.minStddev) return undefined;
    return `the policy has stopped exploring: its standard deviation is ${significant(stddev)}, and its floor is ${policy.minStddev}. ${policy.remedy}, or raise policy.minStddev`;
  }
  const { largestEntropy } = policy;
  if (entropy === undefined || largestEntropy === 0 || entropy > leastEntropyShare * largestEntropy)
    return undefined;
  return `the policy has stopped exploring: its entropy is ${significant(entropy)} of at most ${significant(largestEntropy)} nats. ${policy.remedy}`;
}

/** In the order in which one is the cause of the next, so that only the first of those at hand is told. */
const troubles: readonly Trouble[] = [
  {
    name: 'rewards',
    find: ({ 'critic/returnRange': range }) =>
      range === 0
        ? 'every return is the same, so that no action is better than another. Check the rewards of the simulator, or let the policy find some: raise learner.warmupSteps or policy.initialStddev'
        : undefined,
  },
  { name: 'exploration', find: lostExploration },
  {
    name: 'ties',
    find: ({ 'feedback/tieRate': tieRate }, { remedy }) =>
      tieRate !== undefined && tieRate >= largestTieRate
        ? `in ${Math.round(100 * tieRate)} % of the contexts all samples have the same value, so that accepted and rejected samples do not differ. ${remedy}, or raise learner.samples`
        : undefined,
  },
  {
    name: 'values',
    find: ({ 'critic/sampleStddev': samples, 'critic/contextStddev': contexts }) =>
      samples !== undefined && contexts !== undefined && contexts > 0 && samples < leastSampleShare * contexts
        ? `the critics see no difference between actions: the values of a context's samples differ by ${significant(samples)}, those of contexts by ${significant(contexts)}. Lower learner.discount or raise critic.learningRate`
        : undefined,
  },
];

/** What the watch has said, as plain data for a checkpoint. */
export interface WatchState {
  /** Names of the troubles that have been told. */
  readonly told: readonly string[];
  /** The trouble that was told and holds, if any. */
  readonly current?: string;
  /** The trouble in the last report, and in how many reports in a row. */
  readonly candidate?: string;
  readonly count: number;
}

/**
 * Reads a run's metrics, report by report, and returns what a person should know: each trouble once, when two reports in a row show it,
 * and once that it is over.
 */
export class LearningWatch {
  readonly #policy: WatchedPolicy;
  readonly #told: Set<string>;
  #current: string | undefined;
  #candidate: string | undefined;
  #count: number;

  /** @param state what a watch before this one has said, if the run is resumed. */
  constructor(policy: WatchedPolicy, state: WatchState = { told: [], count: 0 }) {
    this.#policy = policy;
    this.#told = new Set(state.told);
    this.#current = state.current;
    this.#candidate = state.candidate;
    this.#count = state.count;
  }

  get state(): WatchState {
    return {
      told: [...this.#told],
      ...(this.#current === undefined ? {} : { current: this.#current }),
      ...(this.#candidate === undefined ? {} : { candidate: this.#candidate }),
      count: this.#count,
    };
  }

  /**
   * @param progress the share of the run that is done, 0 … 1.
   * @returns sentences to show, mostly none.
   */
  observe(metrics: Metrics, progress: number): string[] {
    const found = troubles
      .map(({ name, find }) => ({ name, text: find(metrics, this.#policy) }))
      .find(({ text }) => text !== undefined);
    // A larger count means nothing more.
    this.#count = found?.name === this.#candidate ? Math.min(this.#count + 1, reportsInARow) : 1;
    this.#candidate = found?.name;
    if (this.#count < reportsInARow) return [];
    const messages: string[] = [];
    if (this.#current !== undefined && found === undefined) {
      messages.push(`What was the matter is over: ${overTexts[this.#current] ?? this.#current}`);
      this.#current = undefined;
    }
    if (found !== undefined && !this.#told.has(found.name) && progress <= lastQuarter) {
      this.#told.add(found.name);
      this.#current = found.name;
      messages.push(`Warning: ${found.text}`);
    }
    return messages;
  }
}

const overTexts: Readonly<Record<string, string>> = {
  rewards: 'returns differ now',
  exploration: 'the policy explores again',
  ties: "a context's samples have different values again",
  values: 'the critics tell actions apart again',
};
