import type { Engine } from '../../engine/engine.js';
import type { NamedVariables } from '../../engine/tensors.js';
import type { EpisodeRecorder } from '../../environments/episode-recorder.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import type { LearnerObserver } from '../../run/observer.js';
import type { EvaluationRecord } from '../../run/records.js';
import { BestPolicy } from './best-policy.js';
import { prefixed } from './checkpoint.js';
import { isOfSimulators } from './experience.js';
import { TrainedPolicy } from './policy.js';

type PolicyConfig = ConstructorParameters<typeof TrainedPolicy>[1];

/** What `PolicyEvaluation` needs. */
export interface PolicyEvaluationOptions {
  readonly engine: Engine;
  readonly config: PolicyConfig & { readonly evaluation: { readonly episodes: number } };
  readonly policy: TrainedPolicy;
  /** The variables with which the policy acts. */
  readonly actingPolicy: NamedVariables;
  /** Absent: the policy is not evaluated. */
  readonly environment?: VectorEnvironment;
  /** Records an episode of each evaluation; it has wrapped one of the environments. */
  readonly recorder?: EpisodeRecorder;
  readonly observer: LearnerObserver;
  readonly signal?: AbortSignal;
  /** The record of an evaluation with these returns, at the job's present step. */
  readonly recordOf: (scores: readonly number[]) => EvaluationRecord;
}

/** Evaluates a policy while it is trained, tells the observer, and keeps the best one. */
export class PolicyEvaluation {
  readonly best = new BestPolicy();
  readonly #options: PolicyEvaluationOptions;

  constructor(options: PolicyEvaluationOptions) {
    this.#options = options;
  }

  /** @returns the record; it has no scores without an environment. */
  async evaluate(): Promise<EvaluationRecord> {
    const { engine, config, policy, actingPolicy, environment, recorder, observer, signal, recordOf } =
      this.#options;
    if (environment === undefined) return recordOf([]);
    recorder?.start();
    const record = recordOf(await policy.evaluate(environment, config.evaluation.episodes, signal));
    // An evaluation that was cut short has too few episodes to be recorded.
    if (!signal?.aborted) {
      observer.evaluation(record);
      const isBest = await this.best.offer(record, engine, prefixed('policy', actingPolicy));
      const episode = await recorder?.take();
      if (episode !== undefined) await observer.episode?.(record, episode, isBest);
    }
    return record;
  }

  /**
   * Evaluates before the end of the run. If the evaluation fails or is cut short, `counters` say that it is due, so that the resumed run
   * repeats it.
   * @param checkpoint saves one, which is done if the simulators failed.
   */
  async midway(counters: { evaluationDue?: boolean }, checkpoint: () => Promise<void>): Promise<void> {
    if (this.#options.environment === undefined) return;
    counters.evaluationDue = true;
    try {
      await this.evaluate();
    } catch (error) {
      if (isOfSimulators(error)) await checkpoint();
      throw error;
    }
    counters.evaluationDue = this.#options.signal?.aborted ?? false;
  }

  /** The policy that had the best evaluation; undefined before the first one. */
  bestPolicy(): TrainedPolicy | undefined {
    const { engine, config, policy } = this.#options;
    if (this.best.evaluation === undefined) return undefined;
    const variables = Object.entries(this.best.values).map(
      ([name, value]) => [name.slice(name.indexOf('/') + 1), engine.variable(`best/${name}`, value)] as const,
    );
    return new TrainedPolicy(engine, config, policy.shape, Object.fromEntries(variables));
  }
}
