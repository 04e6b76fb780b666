import { PmpoError } from '../../core/errors.js';
import type { RandomKey } from '../../core/random-keys.js';
import type { Compiled, Engine } from '../../engine/engine.js';
import type {
  HostTensor,
  NamedHostTensors,
  NamedTensors,
  Scalar,
  Tensor,
  Tensor2D,
  Tensor3D,
} from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { copyVariables, moveTowards } from '../../engine/variables.js';
import { classifyChecked, classifyOnHostChecked, invalidFeedback } from '../../feedback/checked.js';
import type { FeedbackClassifier, FeedbackInput } from '../../feedback/classifier.js';
import type { TransitionBatch } from '../../replay/transition-store.js';
import { Acting } from './acting.js';
import { type ActionUnits, inUnits } from './action-units.js';
import { type AgentParameters, type AgentSpec, createParameters } from './parameters.js';
import { drawSamples, improveCritics, improvePolicy, type Samples, type UpdateInputs } from './update.js';

/**
 * The learner's parameters and its compiled functions: act, update, copy. Letters: K worlds, N samples, B contexts, O
 * observation size, A action dimensions.
 */

/** Classifiers see actions in the environment's units. */
export interface AgentOptions extends AgentSpec, ActionUnits {
  readonly engine: Engine;
  readonly classifier: FeedbackClassifier;
  readonly classifierName: string;
}

export type Metrics = Readonly<Record<string, number>>;

const invalidName = 'feedback/invalid';

export class Agent {
  readonly parameters: AgentParameters;
  /** True when an update must end before the next is handed over: its classifier runs between two compiled functions. */
  readonly sequential: boolean;
  readonly #options: AgentOptions;
  readonly #acting: Acting;
  readonly #update: (
    batch: TransitionBatch,
    noise: HostTensor,
    factor: HostTensor,
  ) => Promise<NamedHostTensors>;
  readonly #copyReference: Compiled;
  readonly #copyTargets: Compiled;
  #metricNames: readonly string[] = [];

  constructor(options: AgentOptions, key: RandomKey) {
    const { engine } = options;
    this.#options = options;
    this.parameters = createParameters(engine, options, key);
    const { policy, reference, critics, targetCritics } = this.parameters;
    this.#acting = new Acting(engine, options, policy);
    const { reference: referenceRule, critic } = options.config;
    this.#copyReference = engine.jit('copyReference', () => {
      if (typeof referenceRule === 'object' && 'rate' in referenceRule) {
        moveTowards(policy, reference, referenceRule.rate);
      } else {
        copyVariables(policy, reference);
      }
      return {};
    });
    this.#copyTargets = engine.jit('copyTargetCritics', () => {
      critics.forEach((tree, i) => {
        if ('rate' in critic.target) moveTowards(tree, targetCritics[i], critic.target.rate);
        else copyVariables(tree, targetCritics[i]);
      });
      return {};
    });
    this.sequential = options.classifier.classify === undefined;
    this.#update = options.classifier.classify ? this.#updateInOne() : this.#updateInTwo();
  }

  /** Actions [K, A] of the present policy; see Acting.run. */
  act(observations: Float32Array, noise: Float32Array, numEnvs: number): Promise<Float32Array> {
    return this.#acting.run(observations, noise, numEnvs);
  }

  /**
   * One update of critics, policy and operator state.
   *
   * @param update its number, from 0: decides when the reference and the target critics are copied
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
    const improving = this.#update(batch, noise, factor);
    if (this.sequential) await improving;
    // Handed over right behind the update: the engine keeps the order, and another update may be handed over before either ends.
    const copying = this.#copy(update + 1);
    const [{ metrics: packed }] = await Promise.all([improving, copying]);
    const metrics = Object.fromEntries(this.#metricNames.map((name, i) => [name, packed.data[i]]));
    if (metrics[invalidName] > 0) {
      throw invalidFeedback(this.#options.classifierName, metrics[invalidName], update);
    }
    for (const [name, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) {
        throw new PmpoError({
          where: `update ${update}`,
          what: `${name} is ${value}: the parameters have diverged`,
          remedy:
            'Lower learner.learningRate or raise operator.beta; the last checkpoint is from before this update',
        });
      }
    }
    return metrics;
  }

  /** Hands over the copies that are due once `updates` updates are done. */
  async #copy(updates: number): Promise<void> {
    const { reference, critic } = this.#options.config;
    const due = (rule: { period: number } | { rate: number }) =>
      'rate' in rule || updates % rule.period === 0;
    await Promise.all([
      ...(reference !== 'initial' && due(reference) ? [this.#copyReference.run({})] : []),
      ...(due(critic.target) ? [this.#copyTargets.run({})] : []),
    ]);
  }

  /** Actions [N, B, A] in the environment's units, within its bounds. */
  #inUnits(samples: Tensor3D): Tensor3D {
    return inUnits(tf.clipByValue(samples, -1, 1), this.#options) as Tensor3D;
  }

  /** Packs scalars into one vector, so that one small tensor comes back from each update. */
  #pack(metrics: Record<string, Scalar>): Tensor {
    this.#metricNames = Object.keys(metrics);
    return tf.stack(Object.values(metrics).map((value) => tf.reshape(value, [])));
  }

  /** Everything in one compiled function, for a classifier of tensor operations. */
  #updateInOne() {
    const { engine, classifier, classifierName } = this.#options;
    const compiled = engine.jit('update', (inputs) => {
      const batch = inputs as unknown as UpdateInputs;
      const contexts = batch.nextObservations;
      const drawn = drawSamples(this.#options, this.parameters, contexts, inputs.noise as Tensor3D);
      const mask = tf.onesLike(drawn.evaluation);
      const input: FeedbackInput = { ...drawn, samples: this.#inUnits(drawn.samples), mask, contexts };
      const { feedback, invalid } = classifyChecked(
        classifierName,
        classifier as FeedbackClassifier & { classify: NonNullable<FeedbackClassifier['classify']> },
        input,
      );
      return {
        metrics: this.#improve(batch, drawn, { ...feedback, mask }, inputs, { [invalidName]: invalid }),
      };
    });
    return (batch: TransitionBatch, noise: HostTensor, learningRateFactor: HostTensor) =>
      compiled.run({ ...batch, noise, learningRateFactor });
  }

  #improve(
    batch: UpdateInputs,
    drawn: Samples,
    feedback: { accept: Tensor2D; reject: Tensor2D; mask: Tensor2D },
    inputs: NamedTensors,
    more: Record<string, Scalar>,
  ): Tensor {
    const factor = inputs.learningRateFactor as Scalar;
    return this.#pack({
      ...improveCritics(this.#options, this.parameters, batch, drawn.baseline, factor),
      ...improvePolicy(this.#options, this.parameters, batch.nextObservations, drawn, feedback, factor),
      ...more,
    });
  }

  /** Sampling and improving apart, with a classifier of plain code between them. */
  #updateInTwo() {
    const { engine, classifier, classifierName } = this.#options;
    const draw = engine.jit('drawSamples', ({ contexts, noise }) => {
      const drawn = drawSamples(this.#options, this.parameters, contexts as Tensor2D, noise as Tensor3D);
      return { ...drawn, inUnits: this.#inUnits(drawn.samples) };
    });
    const improve = engine.jit('improve', (inputs) => {
      const batch = inputs as unknown as UpdateInputs;
      const drawn = inputs as unknown as Samples;
      const mask = tf.onesLike(drawn.evaluation);
      const feedback = { accept: inputs.accept as Tensor2D, reject: inputs.reject as Tensor2D, mask };
      return { metrics: this.#improve(batch, drawn, feedback, inputs, {}) };
    });
    return async (batch: TransitionBatch, noise: HostTensor, learningRateFactor: HostTensor) => {
      const contexts = batch.nextObservations;
      const { samples, evaluation, baseline, inUnits } = await draw.run({ contexts, noise });
      const [n, b] = evaluation.shape;
      const feedback = await classifyOnHostChecked(
        classifierName,
        classifier as FeedbackClassifier & {
          classifyOnHost: NonNullable<FeedbackClassifier['classifyOnHost']>;
        },
        {
          samplesPerContext: n,
          contexts: b,
          evaluation: evaluation.data as Float32Array,
          mask: new Float32Array(n * b).fill(1),
          baseline: baseline.data as Float32Array,
          sampleValues: inUnits.data as Float32Array,
          sampleShape: inUnits.shape,
          contextValues: contexts.data,
          contextShape: contexts.shape,
        },
      );
      return improve.run({
        ...batch,
        samples,
        evaluation,
        baseline,
        accept: { shape: [n, b], data: feedback.accept },
        reject: { shape: [n, b], data: feedback.reject },
        learningRateFactor,
      });
    };
  }

  dispose(): void {
    for (const part of [this.#acting, this.#copyReference, this.#copyTargets]) part.dispose();
  }
}
