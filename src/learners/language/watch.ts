import { PmpoError } from '../../core/errors.js';
import type { LanguageBatch } from './batch.js';

/** What a language job notices of its own batches: rewards that teach nothing, and a policy that leaves its reference. */

/** The KL of a batch, nats per completion, of which a job without a bound warns. */
const largeKl = 30;

/**
 * Equal rewards for all completions are most often a mistake: accepting and rejecting is then arbitrary.
 * @returns a sentence, or undefined if the rewards differ.
 */
export function equalRewardsWarning(batch: LanguageBatch): string | undefined {
  const given = batch.flatMap(({ completions }) => completions.flatMap(({ evaluation }) => evaluation ?? []));
  if (given.length < 2 || given.some((one) => one !== given[0])) return undefined;
  return `Warning: all ${given.length} completions of the first batch have the reward ${given[0]}. Nothing can be learned from equal rewards; check language.reward`;
}

/** Watches the KL of a job's batches. */
export class KlWatch {
  readonly #bound: number | undefined;
  #warned = false;

  /** @param bound `learner.maxKl`, nats per completion; undefined: the job goes on, with a warning. */
  constructor(bound: number | undefined) {
    this.#bound = bound;
  }

  /** Why the job must end after this update, as an error to throw once a checkpoint is saved; undefined if it goes on. */
  end(updates: number, kl: number): PmpoError | undefined {
    if (this.#bound === undefined || kl <= this.#bound) return undefined;
    return new PmpoError({
      where: `update ${updates}`,
      what: `the KL between reference and policy is ${kl.toPrecision(3)} nats per completion, and learner.maxKl is ${this.#bound}. A checkpoint has been saved`,
      remedy:
        'Hold the policy closer to its reference (operator.beta, learner.learningRate), or raise learner.maxKl',
    });
  }

  /** A warning, the first time that the KL is large and no bound is set. */
  warning(updates: number, kl: number): string | undefined {
    if (this.#bound !== undefined || this.#warned || kl <= largeKl) return undefined;
    this.#warned = true;
    return `Warning: after ${updates} updates, the KL between reference and policy is ${kl.toPrecision(3)} nats per completion. The policy is far from its reference: raise operator.beta or lower learner.learningRate, and set learner.maxKl to end such a run with a checkpoint`;
  }
}
