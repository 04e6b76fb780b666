import type { RandomKey } from '../../core/random-keys.js';
import type { Engine } from '../../engine/engine.js';
import type { HostTensor } from '../../engine/tensors.js';
import type { HostCallOptions } from '../../feedback/checked-host.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { TransitionBatch } from '../../replay/transition-store.js';
import { ImprovementStep } from '../improvement-step.js';
import { ActingPolicy } from './acting-policy.js';
import type { ActionUnits } from './action-units.js';
import { LaggedCopies } from './lagged-copies.js';
import { type AgentParameters, type AgentSpec, createParameters } from './parameters.js';
import { signalMetrics } from './signal-metrics.js';
import {
  type DrawnSamples,
  drawSamples,
  improveCritics,
  improvePolicy,
  type UpdateInputs,
} from './update.js';

/** The parts of an agent. Classifiers see actions in the environment's units. */
export interface AgentOptions extends AgentSpec, ActionUnits {
  readonly engine: Engine;
  readonly classifier: FeedbackClassifier;
  /** The classifier's name in error messages. */
  readonly classifierName: string;
  readonly hostCalls?: HostCallOptions;
}

/** The metrics of one update, by the names that they have in `metrics.jsonl`. */
export type Metrics = Readonly<Record<string, number>>;

/**
 * The parameters of a control learner and its compiled functions: act, update, copy. Shapes: K environments, N samples, B
 * contexts, O observation size, A action dimensions.
 */
export class Agent {
  readonly parameters: AgentParameters;
  readonly #options: AgentOptions;
  readonly #acting: ActingPolicy;
  readonly #step: ImprovementStep<UpdateInputs, DrawnSamples, Record<never, never>>;
  readonly #copies: LaggedCopies;

  /** @param key determines the initial parameters. */
  constructor(options: AgentOptions, key: RandomKey) {
    const { engine, classifier, classifierName, hostCalls } = options;
    this.#options = options;
    this.parameters = createParameters(engine, options, key);
    this.#acting = new ActingPolicy(engine, options, this.parameters.actingPolicy);
    this.#copies = new LaggedCopies(engine, options.config, this.parameters);
    this.#step = new ImprovementStep({
      engine,
      classifier,
      classifierName,
      hostCalls,
      evaluate: (inputs: UpdateInputs) => drawSamples(options, this.parameters, inputs),
      improve: (batch) => ({
        metrics: {
          ...signalMetrics(batch),
          ...improveCritics(options, this.parameters, batch),
          ...improvePolicy(options, this.parameters, batch),
        },
        results: {},
      }),
    });
  }

  /** True if an update must end before the next one may be submitted; see ImprovementStep. */
  get sequential(): boolean {
    return this.#step.sequential;
  }

  /** N, the samples that an update draws for each context: none if it evaluates all actions. */
  get samples(): number {
    const { allActions, config } = this.#options;
    return allActions === undefined ? config.learner.samples : 0;
  }

  /** Actions [K, A] of the current policy; see ActingPolicy.act. */
  act(observations: Float32Array, noise: Float32Array, numEnvs: number): Promise<Float32Array> {
    return this.#acting.act(observations, noise, numEnvs);
  }

  /**
   * One update of critics, policy and operator state.
   *
   * @param update its number, from 0: decides when the reference and the target critics are copied.
   * @param noise [N, B, A]
   * @throws PmpoError when a loss or a gradient is not finite, or the classifier returned invalid weights.
   */
  async update(
    update: number,
    batch: TransitionBatch,
    noise: HostTensor,
    learningRateFactor: number,
  ): Promise<Metrics> {
    const factor = { shape: [], data: Float32Array.of(learningRateFactor) };
    const improving = this.#step.run({ ...batch, noise, learningRateFactor: factor }, update);
    if (this.sequential) await improving;
    // The engine runs calls in the order in which they are made, so that the copy and even the next update may be submitted before
    // this update has ended.
    const copying = this.#copies.follow(update + 1);
    const [{ metrics }] = await Promise.all([improving, copying]);
    return metrics;
  }
}
