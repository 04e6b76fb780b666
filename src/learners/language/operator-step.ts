import { PmpoError } from '../../core/errors.js';
import { createAdam } from '../../engine/adam.js';
import type { Engine } from '../../engine/engine.js';
import type {
  HostTensor,
  NamedTensors,
  NamedVariables,
  Scalar,
  Tensor,
  Tensor1D,
  Tensor2D,
} from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { classifyChecked, classifyOnHostChecked, invalidFeedback } from '../../feedback/checked.js';
import type { FeedbackClassifier, HostFeedbackInput } from '../../feedback/classifier.js';
import { sequenceKl } from '../../language/trainable-model.js';
import type { Operator, OperatorBatch } from '../../operators/operator.js';

/**
 * An operator at a distance from the parameters that it improves: its loss on numbers, and the loss's gradient in these
 * numbers. By the chain rule that gradient is all that whoever has the parameters needs:
 *
 *     ∂L/∂θ = Σ_nb ∂L/∂log π_θ(y_nb|x_b) · ∂log π_θ(y_nb|x_b)/∂θ + Σ_b ∂L/∂KL_b · ∂KL_b/∂θ
 *
 * Letters: N samples, B contexts.
 */

/** Numbers [N, B], row-major. */
export interface OperatorInputs extends Omit<HostFeedbackInput, 'baseline'> {
  /** log π_θ(y|x), summed over the tokens of y. */
  readonly logProb: Float32Array;
  readonly referenceLogProb: Float32Array;
  /** KL(π_ref ‖ π_θ) at each context, nats, [B]; read where `kl` is exact. */
  readonly kl: Float32Array;
}

export interface OperatorGradient {
  /** ∂L/∂log π_θ(y|x), [N, B]. */
  readonly logProb: Float32Array;
  /** ∂L/∂KL, [B]. */
  readonly kl: Float32Array;
  readonly metrics: Readonly<Record<string, number>>;
}

export interface OperatorStepOptions {
  readonly engine: Engine;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  readonly classifierName: string;
  /** Whether the KL is given, or estimated from the samples as the mean of log π_ref − log π_θ. */
  readonly kl: 'exact' | 'sampled';
  readonly stateLearningRate: number;
}

/** As tensors: those of the inputs, and those of the operator's own state by name. */
interface Gradients {
  readonly logProb: Tensor;
  readonly kl: Tensor;
  readonly state: Record<string, Tensor>;
  readonly metrics: Record<string, Scalar>;
}

type Improve = (inputs: NamedTensors, feedback: Record<'accept' | 'reject', Tensor2D>) => Gradients;

const invalidName = 'feedback/invalid';
/** What the compiled function takes, all float32. */
const planeNames = ['logProb', 'referenceLogProb', 'evaluation', 'mask'] as const;

export class OperatorStep {
  /** The operator's own state, and the optimizer that trains it: what a checkpoint holds. */
  readonly state: NamedVariables;
  readonly #options: OperatorStepOptions;
  readonly #run: (inputs: OperatorInputs, update: number) => Promise<Record<string, HostTensor>>;
  #metricNames: readonly string[] = [];

  constructor(options: OperatorStepOptions) {
    const { engine, operator, classifier, stateLearningRate } = options;
    this.#options = options;
    const initial = operator.initialState({ klParts: { [sequenceKl]: 1 } });
    const variables = Object.fromEntries(
      Object.entries(initial).map(([name, value]) => [name, engine.variable(`operator/${name}`, value)]),
    );
    const adam =
      Object.keys(variables).length === 0
        ? undefined
        : createAdam(engine, 'operator/adam', variables, { learningRate: stateLearningRate });
    this.state = {
      ...Object.fromEntries(Object.values(variables).map((variable) => [variable.name, variable])),
      ...adam?.slots,
    };
    const improve: Improve = (inputs, feedback) => {
      const result = this.#gradients(inputs, feedback, variables);
      if (adam !== undefined) {
        adam.apply(result.state);
        const projected = operator.projectState?.(variables) ?? variables;
        for (const [name, variable] of Object.entries(variables)) variable.assign(projected[name]!);
      }
      return result;
    };
    this.#run = classifier.classify === undefined ? this.#onHost(improve) : this.#inOne(improve);
  }

  /** The loss and its gradients in log-probs, KL and the operator's state. */
  #gradients(
    inputs: NamedTensors,
    { accept, reject }: Record<'accept' | 'reject', Tensor2D>,
    state: NamedVariables,
  ): Gradients {
    const { operator, kl: kind } = this.#options;
    const [referenceLogProb, evaluation, mask] = (['referenceLogProb', 'evaluation', 'mask'] as const).map(
      (name) => inputs[name] as Tensor2D,
    );
    let metrics: Record<string, Scalar> = {};
    const loss = (logProb: Tensor, kl: Tensor, ...values: Tensor[]): Scalar => {
      const ratio = tf.mul(tf.sub(referenceLogProb!, logProb), mask!);
      const sampled = tf.div(tf.sum(ratio, 0), tf.maximum(tf.sum(mask!, 0), 1)) as Tensor1D;
      const estimate = kind === 'exact' ? kl : sampled;
      const batch: OperatorBatch = {
        logProb: logProb as Tensor2D,
        referenceLogProb: referenceLogProb!,
        evaluation: evaluation!,
        accept,
        reject,
        mask: mask!,
        kl: () => ({
          exact: kind === 'exact',
          parts: { [sequenceKl]: tf.expandDims(estimate, -1) as Tensor2D },
        }),
      };
      const result = operator.loss(
        batch,
        Object.fromEntries(Object.keys(state).map((k, i) => [k, values[i]!])),
      );
      metrics = Object.fromEntries(
        Object.entries({ ...result.metrics, 'policy/sampledKl': tf.mean(sampled) as Scalar }).map(
          ([k, v]) => [k, tf.keep(tf.clone(v))],
        ),
      );
      // Every input has a gradient, if only 0: an operator need not read all of them.
      const nothing = [logProb, kl, ...values].map((x) => tf.mul(tf.sum(x), 0));
      return tf.addN([result.loss, ...(nothing as Scalar[])]) as Scalar;
    };
    const { value, grads } = tf.valueAndGrads(loss)([inputs.logProb!, inputs.kl!, ...Object.values(state)]);
    const [logProb, kl, ...own] = grads;
    return {
      logProb: logProb!,
      kl: kl!,
      state: Object.fromEntries(Object.keys(state).map((name, i) => [name, own[i]!])),
      metrics: { 'policy/loss': value as Scalar, ...metrics },
    };
  }

  #packed(
    { logProb, kl, metrics }: { logProb: Tensor; kl: Tensor; metrics: Record<string, Scalar> },
    more: Record<string, Scalar> = {},
  ) {
    const all = { ...metrics, ...more };
    this.#metricNames = Object.keys(all);
    return { logProb, kl, metrics: tf.stack(Object.values(all).map((value) => tf.reshape(value, []))) };
  }

  #inputs({ samplesPerContext: n, contexts: b, kl, ...inputs }: OperatorInputs): Record<string, HostTensor> {
    const planes = planeNames.map((name) => [name, { shape: [n, b], data: inputs[name] }] as const);
    return { ...Object.fromEntries(planes), kl: { shape: [b], data: kl } };
  }

  /** Classifier and operator in one compiled function. */
  #inOne(improve: Improve) {
    const { engine, classifier, classifierName } = this.#options;
    const compiled = engine.jit('operator', (inputs) => {
      const { feedback, invalid } = classifyChecked(
        classifierName,
        classifier as FeedbackClassifier & { classify: NonNullable<FeedbackClassifier['classify']> },
        {
          evaluation: inputs.evaluation as Tensor2D,
          mask: inputs.mask as Tensor2D,
          baseline: inputs.baseline as Tensor1D,
          samples: inputs.samples!,
          contexts: inputs.contexts!,
        },
      );
      return this.#packed(improve(inputs, feedback), { [invalidName]: invalid });
    });
    return (inputs: OperatorInputs) =>
      compiled.run({
        ...this.#inputs(inputs),
        baseline: { shape: [inputs.contexts], data: baselineOf(inputs) },
        samples: { shape: inputs.sampleShape, data: inputs.sampleValues },
        contexts: { shape: inputs.contextShape, data: inputs.contextValues },
      });
  }

  /** A classifier of plain code before the compiled function. */
  #onHost(improve: Improve) {
    const { engine, classifier, classifierName } = this.#options;
    const compiled = engine.jit('operator', (inputs) =>
      this.#packed(improve(inputs, { accept: inputs.accept as Tensor2D, reject: inputs.reject as Tensor2D })),
    );
    return async (inputs: OperatorInputs) => {
      const { accept, reject } = await classifyOnHostChecked(
        classifierName,
        classifier as FeedbackClassifier & {
          classifyOnHost: NonNullable<FeedbackClassifier['classifyOnHost']>;
        },
        { ...inputs, baseline: baselineOf(inputs) },
      );
      const shape = [inputs.samplesPerContext, inputs.contexts];
      return compiled.run({
        ...this.#inputs(inputs),
        accept: { shape, data: accept },
        reject: { shape, data: reject },
      });
    };
  }

  /**
   * Classifies, and takes the operator's gradient. Its own state moves one step.
   * @throws PmpoError when the classifier fails or a number is not finite.
   */
  async run(inputs: OperatorInputs, update: number): Promise<OperatorGradient> {
    const { logProb, kl, metrics: packed } = await this.#run(inputs, update);
    const metrics = Object.fromEntries(this.#metricNames.map((name, i) => [name, packed!.data[i]!]));
    if ((metrics[invalidName] ?? 0) > 0) {
      throw invalidFeedback(this.#options.classifierName, metrics[invalidName]!, update);
    }
    for (const [name, value] of Object.entries(metrics)) {
      if (Number.isFinite(value)) continue;
      throw new PmpoError({
        where: `update ${update}`,
        what: `${name} is ${value}: the parameters have diverged`,
        remedy:
          'Lower learner.learningRate or raise operator.beta; the last checkpoint is from before this update',
      });
    }
    const { [invalidName]: _, ...shown } = metrics;
    return { logProb: logProb!.data as Float32Array, kl: kl!.data as Float32Array, metrics: shown };
  }
}

/** The mean evaluation of each context's present samples, [B]; 0 where there is none. */
function baselineOf({
  samplesPerContext: n,
  contexts: b,
  evaluation,
  mask,
}: Pick<OperatorInputs, 'samplesPerContext' | 'contexts' | 'evaluation' | 'mask'>): Float32Array {
  const baseline = new Float32Array(b);
  for (let c = 0; c < b; c++) {
    let [sum, count] = [0, 0];
    for (let i = c; i < n * b; i += b) {
      if (mask[i] === 0) continue;
      sum += evaluation[i]!;
      count += 1;
    }
    baseline[c] = count === 0 ? 0 : sum / count;
  }
  return baseline;
}
