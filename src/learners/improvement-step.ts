import { divergedError, PmpoError } from '../core/errors.js';
import { type Adam, createAdam } from '../engine/adam.js';
import type { Engine } from '../engine/engine.js';
import type {
  HostInputs,
  HostResults,
  NamedTensors,
  NamedVariables,
  Scalar,
  Tensor,
  Tensor2D,
  TensorFields,
} from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { classifyChecked, invalidFeedback } from '../feedback/checked.js';
import { classifyOnHostChecked, type HostCallOptions } from '../feedback/checked-host.js';
import type {
  FeedbackClassifier,
  FeedbackInput,
  HostClassifier,
  HostFeedbackInput,
  TensorClassifier,
} from '../feedback/classifier.js';
import type { Operator, OperatorBatch, PolicyShape } from '../operators/operator.js';

/**
 * One improvement step, the same for a bandit, a robot and a language model. Shapes: B contexts x, N samples y for each.
 *
 *     sample     y ~ π_ref(·|x)                          the learner's `evaluate`
 *     evaluate   f(x, y) [N, B] and V(x) [B]             the learner's `evaluate`
 *     classify   accept and reject weights [N, B]        a FeedbackClassifier, whose result is checked
 *     improve    the operator's loss, its gradient       the learner's `improve`, by means of TrainedOperator
 *
 * `ImprovementStep` compiles these four, runs them, and makes sure that every number that comes out is finite. It knows
 * neither the operator nor the classifier, and makes no assumption about contexts and samples.
 */

/** Scalars for the log, by the names that they have in `metrics.jsonl`. */
export type ScalarMetrics = Readonly<Record<string, Scalar>>;

/** What `improve` works on: the step's inputs, the evaluated samples, and the classifier's weights. */
export type ClassifiedSamples<I, E> = I & E & { readonly accept: Tensor2D; readonly reject: Tensor2D };

/**
 * What a learner gives to its improvement step. Both functions consist of tensor operations and run inside a compiled
 * function; `improve` may assign to variables.
 */
export interface ImprovementStepOptions<
  I extends TensorFields<I>,
  E extends FeedbackInput & TensorFields<E>,
  R extends TensorFields<R>,
> {
  readonly engine: Engine;
  readonly classifier: FeedbackClassifier;
  /** The classifier's name in error messages. */
  readonly classifierName: string;
  /** Who may stop a classifier of plain code, and who is told while it is waited for. */
  readonly hostCalls?: HostCallOptions;
  /**
   * Draws N samples for each context from the reference policy and evaluates them. Absent when the inputs contain evaluated
   * samples already.
   */
  readonly evaluate?: (inputs: I) => E;
  /** Improves policy and critics, given the samples that the classifier accepts and rejects. */
  readonly improve: (batch: ClassifiedSamples<I, E>) => {
    readonly metrics: ScalarMetrics;
    readonly results: R;
  };
}

/** Prompts [B] and completions [N · B] as texts, for classifiers of plain code that read them. */
export type SampleTexts = Pick<HostFeedbackInput, 'contextTexts' | 'sampleTexts'>;

/** The outcome of one step. */
export interface ImprovementResult<R> {
  /** What `improve` returned besides metrics. */
  readonly results: HostResults<R>;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What leaves a compiled function: the metrics are packed into one vector, so that one small tensor carries all of them. */
type Improved<R> = R & { readonly metrics: Tensor };

const invalidWeights = 'feedback/invalid';
const invalidEvaluations = 'evaluation/invalid';

const invalidEvaluation = (update: number, count: number) =>
  divergedError(`update ${update}`, `${count} evaluations are not finite`);

/** The number of samples whose evaluation is NaN or infinite: a classifier would judge them like any others. */
function countInvalid({ evaluation, mask }: Pick<FeedbackInput, 'evaluation' | 'mask'>): Scalar {
  // The difference of a finite number and itself is 0, that of any other is NaN.
  const invalid = tf.notEqual(tf.sub(evaluation, evaluation), 0);
  return tf.sum(tf.cast(tf.logicalAnd(invalid, tf.greater(mask, 0)), 'float32'));
}

/**
 * The compiled step. A classifier of tensor operations is traced together with everything else into one compiled function;
 * a classifier of plain code runs between two of them.
 */
export class ImprovementStep<
  I extends TensorFields<I>,
  E extends FeedbackInput & TensorFields<E>,
  R extends TensorFields<R>,
> {
  /** True if a step must end before the next one may be submitted, because its classifier runs on the host. */
  readonly sequential: boolean;
  readonly #options: ImprovementStepOptions<I, E, R>;
  readonly #run: (
    inputs: HostInputs<I>,
    texts: SampleTexts,
    update: number,
  ) => Promise<HostResults<Improved<R>>>;
  /** The names of the packed metrics, known once the step has been traced. */
  #metricNames: readonly string[] = [];

  constructor(options: ImprovementStepOptions<I, E, R>) {
    this.#options = options;
    const { classifier } = options;
    this.sequential = classifier.classify === undefined;
    this.#run =
      classifier.classify === undefined
        ? this.#withHostClassifier(classifier)
        : this.#withTensorClassifier(classifier);
  }

  /**
   * Runs the step. When it is not `sequential`, it is submitted to the engine before this returns its promise, so that further
   * work may be submitted right behind it.
   *
   * @param inputs the tensors that `evaluate` and `improve` read.
   * @param update the number of this step, from 0, for error messages.
   * @throws PmpoError when the classifier fails or returns invalid weights, or a metric is not finite. After
   *   a metric that is not finite or an invalid weight, everything that `improve` assigned is unusable: resume from a
   *   checkpoint. If a classifier of plain code fails (FeedbackError) or is stopped
   *   (StoppedError), nothing has changed.
   */
  async run(inputs: HostInputs<I>, update: number, texts: SampleTexts = {}): Promise<ImprovementResult<R>> {
    const results = await this.#run(inputs, texts, update);
    const {
      [invalidWeights]: invalid = 0,
      [invalidEvaluations]: unusable,
      ...metrics
    } = Object.fromEntries(this.#metricNames.map((name, i) => [name, results.metrics.data[i]]));
    if (unusable > 0) throw invalidEvaluation(update, unusable);
    if (invalid > 0) throw invalidFeedback(this.#options.classifierName, invalid, update);
    for (const [name, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) throw divergedError(`update ${update}`, `${name} is ${value}`);
    }
    return { results, metrics };
  }

  /** Everything in one compiled function. */
  #withTensorClassifier(classifier: TensorClassifier) {
    const { engine, classifierName, evaluate } = this.#options;
    const step = engine.jit('improvementStep', (inputs: I): Improved<R> => {
      const batch = { ...inputs, ...evaluate?.(inputs) } as I & E;
      const { evaluation, mask, baseline, samples, contexts } = batch;
      // A learner that evaluates all actions weights them by their probabilities; a classifier sees which are present.
      const present: Tensor2D = tf.cast(tf.greater(mask, 0), 'float32');
      const seen: FeedbackInput = { evaluation, mask: present, baseline, samples, contexts };
      const { feedback, invalid } = classifyChecked(classifierName, classifier, seen);
      return this.#improve({ ...batch, ...feedback }, { [invalidWeights]: invalid });
    });
    return (inputs: HostInputs<I>) => step.run(inputs);
  }

  /** The classifier on the host, between a compiled function that evaluates and one that improves. */
  #withHostClassifier(classifier: HostClassifier) {
    const { engine, classifierName, hostCalls, evaluate } = this.#options;
    const evaluating = evaluate && engine.jit('evaluate', evaluate);
    const improving = engine.jit('improve', (batch: ClassifiedSamples<I, E>) => this.#improve(batch, {}));
    return async (inputs: HostInputs<I>, texts: SampleTexts, update: number) => {
      const batch = { ...inputs, ...(await evaluating?.run(inputs)) } as HostInputs<I> & HostResults<E>;
      const { evaluation, mask, baseline, samples, contexts } = batch;
      // Before the classifier, whose failure would save a state that has diverged.
      const unusable = evaluation.data.filter((f, i) => mask.data[i]! > 0 && !Number.isFinite(f)).length;
      if (unusable > 0) throw invalidEvaluation(update, unusable);
      const seen = {
        samplesPerContext: evaluation.shape[0],
        contexts: evaluation.shape[1],
        evaluation: evaluation.data,
        mask: mask.data.map((weight) => Number(weight > 0)),
        baseline: baseline.data,
        sampleValues: samples.data as Float32Array,
        sampleShape: samples.shape,
        contextValues: contexts.data as Float32Array,
        contextShape: contexts.shape,
        ...texts,
      };
      const feedback = await classifyOnHostChecked(classifierName, classifier, seen, hostCalls);
      return improving.run({
        ...batch,
        accept: { shape: evaluation.shape, data: feedback.accept },
        reject: { shape: evaluation.shape, data: feedback.reject },
      });
    };
  }

  #improve(batch: ClassifiedSamples<I, E>, more: ScalarMetrics): Improved<R> {
    const { metrics, results } = this.#options.improve(batch);
    const all = { ...metrics, ...more, [invalidEvaluations]: countInvalid(batch) };
    this.#metricNames = Object.keys(all);
    return { ...results, metrics: tf.stack(Object.values(all).map((value) => tf.reshape(value, []))) };
  }
}

/** What `TrainedOperator` needs. */
export interface TrainedOperatorOptions {
  readonly engine: Engine;
  readonly operator: Operator;
  /** The sizes of the KL's parts, which the operator's state may depend on. */
  readonly policyShape: PolicyShape;
  /** Learning rate of the operator's state. */
  readonly learningRate: number;
  /** Prefixes of the names that the state and its optimizer have as variables of the engine. */
  readonly names: { readonly state: string; readonly optimizer: string };
}

/** The operator's batch at the current parameters, with more to log from the same forward pass. */
export interface OperatorForward {
  readonly batch: OperatorBatch;
  readonly metrics?: ScalarMetrics;
  /** A weight of the operator's loss, and a loss that is added to it: behavior cloning beside an operator. Default: 1, and none. */
  readonly operatorWeight?: number;
  readonly addedLoss?: Scalar;
}

/**
 * β₂ of the state's Adam, which is its β₁ as well, so that no step is longer than the learning rate. A dual is stored as a logarithm, so
 * its gradient grows with it: by the usual 0.999, steps up are longer than that, and steps down a fifteenth of it, because the second
 * moment remembers the largest gradients for thousands of updates. On `reacher` the weight of a Gaussian's covariance then rose from 30
 * to 10⁷ within two thousand updates, and in the next ten thousand it came down to 10³, while the KL stayed far below its bounds.
 */
const stateBeta2 = 0.9;

/** An operator with its own state (MPO's temperature, the duals of KL bounds) and the optimizer that trains it. */
export class TrainedOperator {
  /** By the operator's own names; empty for an operator without a state. */
  readonly state: NamedVariables;
  /** Absent for an operator without a state. */
  readonly optimizer: Adam | undefined;
  readonly #operator: Operator;

  constructor({ engine, operator, policyShape, learningRate, names }: TrainedOperatorOptions) {
    this.#operator = operator;
    this.state = Object.fromEntries(
      Object.entries(operator.initialState(policyShape)).map(([name, value]) => [
        name,
        engine.variable(`${names.state}/${name}`, value),
      ]),
    );
    // Adam's step does not depend on the scale of a gradient, so the state needs no clipping by a gradient norm.
    this.optimizer =
      Object.keys(this.state).length === 0
        ? undefined
        : createAdam(engine, names.optimizer, this.state, { learningRate, beta2: stateBeta2 });
  }

  /**
   * The gradient of the operator's loss; call it inside a compiled function. Moves the operator's own state one step.
   *
   * @param parameters the tensors in which the loss is differentiated: a policy's variables, or log-probs and KLs that were
   *   computed elsewhere.
   * @param forward computes the operator's batch from them. Runs once, inside the differentiated function.
   * @returns gradients by the names in `parameters`, all of them.
   * @throws PmpoError if the loss depends on none of the parameters.
   */
  gradients<P extends NamedTensors>(
    parameters: P,
    forward: () => OperatorForward,
  ): { readonly gradients: { readonly [K in keyof P]: Tensor }; readonly metrics: ScalarMetrics } {
    const { state, optimizer } = this;
    const names = Object.keys(parameters);
    const stateNames = Object.keys(state);
    const { loss, gradients, isUsed, metrics } = lossGradients(
      [...Object.values(parameters), ...Object.values(state)],
      () => {
        const { batch, metrics: more, operatorWeight = 1, addedLoss } = forward();
        const result = this.#operator.loss(batch, state);
        const own: Scalar = operatorWeight === 1 ? result.loss : tf.mul(result.loss, operatorWeight);
        const loss = addedLoss === undefined ? own : tf.add<Scalar>(own, addedLoss);
        return { loss, metrics: { ...result.metrics, ...more } };
      },
    );
    if (!isUsed.slice(0, names.length).includes(true)) {
      throw new PmpoError({
        where: `operator ${this.#operator.name}`,
        what: 'its loss does not depend on the policy, which would never change',
        remedy: 'Compute the loss from logProb or kl() of the batch',
      });
    }
    const named = (keys: readonly string[], from: number) =>
      Object.fromEntries(keys.map((key, i) => [key, gradients[from + i]]));
    if (optimizer !== undefined) {
      optimizer.apply(named(stateNames, names.length));
      const projected = this.#operator.projectState?.(state) ?? state;
      for (const [name, variable] of Object.entries(state)) variable.assign(projected[name]);
    }
    return {
      gradients: named(names, 0) as { readonly [K in keyof P]: Tensor },
      // The total loss comes last, so that `policy/loss` means the same for every operator.
      metrics: { ...metrics, 'policy/loss': loss },
    };
  }
}

/**
 * A loss and its gradients in `parameters`, in their order: 0 for a parameter that it does not depend on.
 * @param forward computes the loss, and metrics that outlive the differentiated function.
 */
export function lossGradients(
  parameters: readonly Tensor[],
  forward: () => { readonly loss: Scalar; readonly metrics: ScalarMetrics },
): {
  readonly loss: Scalar;
  readonly gradients: readonly Tensor[];
  /** Whether the loss depends on each parameter. */
  readonly isUsed: readonly boolean[];
  readonly metrics: ScalarMetrics;
} {
  let kept: readonly (readonly [string, Scalar])[] = [];
  // `tf.variableGrads` differentiates in variables only; this also works for tensors that are not variables, such as log-probs.
  const { value, grads } = tf.engine().gradients(
    () => {
      const { loss, metrics } = forward();
      // Everything else that is made in here is disposed of at the end.
      kept = Object.entries(metrics).map(([name, metric]) => [name, tf.keep(tf.clone(metric))] as const);
      return loss;
    },
    [...parameters],
    undefined,
    true,
  );
  const metrics = Object.fromEntries(
    kept.map(([name, metric]) => {
      // The copy belongs to the caller's scope.
      const copy = tf.clone(metric);
      metric.dispose();
      return [name, copy];
    }),
  );
  // TypeScript's declaration leaves out that a gradient may be missing.
  const found: readonly (Tensor | undefined | null)[] = grads;
  return {
    loss: value,
    gradients: parameters.map((parameter, i) => found[i] ?? tf.zerosLike(parameter)),
    isUsed: parameters.map((_, i) => found[i] !== undefined && found[i] !== null),
    metrics,
  };
}
