import type { Engine } from '../../engine/engine.js';
import type { HostTensor, NamedVariables, Tensor, Tensor1D, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { HostCallOptions } from '../../feedback/checked-host.js';
import type { FeedbackClassifier, FeedbackInput } from '../../feedback/classifier.js';
import { sequenceKl } from '../../language/trainable-model.js';
import type { Operator } from '../../operators/operator.js';
import {
  ImprovementStep,
  type OperatorForward,
  type SampleTexts,
  TrainedOperator,
} from '../improvement-step.js';

/**
 * An improvement step for a policy whose parameters are elsewhere: the operator's loss as a function of log-probs and KLs, and
 * its gradient in these. By the chain rule that gradient is all that the owner of the parameters needs:
 *
 *     ∂L/∂θ = Σ_nb ∂L/∂log π_θ(y_nb|x_b) · ∂log π_θ(y_nb|x_b)/∂θ + Σ_b ∂L/∂KL_b · ∂KL_b/∂θ
 *
 * Shapes: N samples, B contexts.
 */

/** Arrays [N, B], row-major, unless another shape is given. */
export interface GradientInputs extends SampleTexts {
  readonly samplesPerContext: number;
  readonly contexts: number;
  /** log π_θ(y|x), summed over the tokens of y. */
  readonly logProb: Float32Array;
  /** log π_ref(y|x), summed likewise. */
  readonly referenceLogProb: Float32Array;
  /** KL(π_ref ‖ π_θ) of each context, nats, [B]; read only if the KL is exact. */
  readonly kl: Float32Array;
  /** KL(π_θ ‖ π_ref) of each context, nats, [B]; read only by an operator that needs it. */
  readonly reverseKl: Float32Array;
  /** f(x, y). */
  readonly evaluation: Float32Array;
  /** 1 for a sample that is present, 0 for a cell without one, in a context with fewer than N. */
  readonly mask: Float32Array;
  /** log π_θ(y′|x) − log π_ref(y′|x) of a sample y′ of another context; read only by an operator that needs it. */
  readonly mismatchedLogRatio: Float32Array;
  /** The number of tokens of each sample. */
  readonly length: Float32Array;
  /** The samples as the classifier sees them: padded tokens [N, B, T]. */
  readonly sampleValues: Float32Array;
  readonly sampleShape: readonly number[];
  /** The contexts as the classifier sees them: padded tokens [B, T]. */
  readonly contextValues: Float32Array;
  readonly contextShape: readonly number[];
}

/** The gradient of the operator's loss L. */
export interface LossGradient {
  /** ∂L/∂log π_θ(y|x), [N, B]. */
  readonly logProb: Float32Array;
  /** ∂L/∂KL, [B]. */
  readonly kl: Float32Array;
  /** The same of the other direction. */
  readonly reverseKl: Float32Array;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What `OperatorGradient` needs. */
export interface OperatorGradientOptions {
  readonly engine: Engine;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  /** The classifier's name in error messages. */
  readonly classifierName: string;
  readonly hostCalls?: HostCallOptions;
  /** Whether the KL is given, or estimated from the samples as the mean of log π_ref − log π_θ. */
  readonly kl: 'exact' | 'sampled';
  /** Learning rate of the operator's state. */
  readonly stateLearningRate: number;
}

type GradientTensors = FeedbackInput & {
  readonly logProb: Tensor2D;
  readonly referenceLogProb: Tensor2D;
  readonly length: Tensor2D;
  readonly mismatchedLogRatio: Tensor2D;
  readonly kl: Tensor1D;
  readonly reverseKl: Tensor1D;
};

/** Classifies samples and takes the gradient of an operator's loss in their log-probs. */
export class OperatorGradient {
  /** The operator's own state and its optimizer's, by the names that they have in a checkpoint. */
  readonly state: NamedVariables;
  readonly #step: ImprovementStep<
    GradientTensors,
    FeedbackInput,
    { logProb: Tensor; kl: Tensor; reverseKl: Tensor }
  >;

  constructor({
    engine,
    operator,
    classifier,
    classifierName,
    hostCalls,
    kl,
    stateLearningRate,
  }: OperatorGradientOptions) {
    const trained = new TrainedOperator({
      engine,
      operator,
      policyShape: { klParts: { [sequenceKl]: 1 } },
      learningRate: stateLearningRate,
      names: { state: 'operator', optimizer: 'operator/adam' },
    });
    this.state = {
      ...Object.fromEntries(Object.values(trained.state).map((variable) => [variable.name, variable])),
      ...trained.optimizer?.slots,
    };
    this.#step = new ImprovementStep({
      engine,
      classifier,
      classifierName,
      hostCalls,
      improve: (batch) => {
        const { logProb, kl: exactKl, reverseKl } = batch;
        const parameters = { logProb, kl: exactKl, reverseKl };
        const { gradients, metrics } = trained.gradients(parameters, () =>
          operatorForward(batch, kl === 'exact'),
        );
        return { metrics, results: gradients };
      },
    });
  }

  /**
   * Classifies, and takes the gradient of the operator's loss. The operator's own state moves one step.
   * @throws PmpoError when the classifier fails or a number is not finite.
   */
  async run(inputs: GradientInputs, update: number): Promise<LossGradient> {
    const { samplesPerContext, contexts, contextTexts, sampleTexts } = inputs;
    const plane = (data: Float32Array): HostTensor => ({ shape: [samplesPerContext, contexts], data });
    const { results, metrics } = await this.#step.run(
      {
        logProb: plane(inputs.logProb),
        referenceLogProb: plane(inputs.referenceLogProb),
        evaluation: plane(inputs.evaluation),
        mask: plane(inputs.mask),
        length: plane(inputs.length),
        mismatchedLogRatio: plane(inputs.mismatchedLogRatio),
        kl: { shape: [contexts], data: inputs.kl },
        reverseKl: { shape: [contexts], data: inputs.reverseKl },
        baseline: { shape: [contexts], data: baselineOf(inputs) },
        samples: { shape: inputs.sampleShape, data: inputs.sampleValues },
        contexts: { shape: inputs.contextShape, data: inputs.contextValues },
      },
      update,
      { contextTexts, sampleTexts },
    );
    const { logProb, kl, reverseKl } = results;
    return { logProb: logProb.data, kl: kl.data, reverseKl: reverseKl.data, metrics };
  }
}

/** The operator's batch. A sampled KL depends on the log-probs, an exact one is a parameter in its own right. */
function operatorForward(
  {
    logProb,
    referenceLogProb,
    kl,
    reverseKl,
    evaluation,
    accept,
    reject,
    mask,
    length,
    mismatchedLogRatio,
  }: GradientTensors & { readonly accept: Tensor2D; readonly reject: Tensor2D },
  exact: boolean,
): OperatorForward {
  const ratio = tf.mul(tf.sub(referenceLogProb, logProb), mask);
  const sampled = tf.div(tf.sum(ratio, 0), tf.maximum(tf.sum(mask, 0), 1));
  return {
    batch: {
      logProb,
      referenceLogProb,
      evaluation,
      accept,
      reject,
      mask,
      length,
      mismatchedLogRatio,
      kl: () => ({
        exact,
        parts: { [sequenceKl]: tf.expandDims<Tensor2D>(exact ? kl : sampled, -1) },
      }),
      reverseKl: () => ({ exact, parts: { [sequenceKl]: tf.expandDims<Tensor2D>(reverseKl, -1) } }),
    },
    metrics: { 'policy/sampledKl': tf.mean(sampled) },
  };
}

/** V(x), the mean evaluation of each context's present samples, [B]; 0 for a context without any. */
function baselineOf({
  samplesPerContext: n,
  contexts: b,
  evaluation,
  mask,
}: Pick<GradientInputs, 'samplesPerContext' | 'contexts' | 'evaluation' | 'mask'>): Float32Array {
  const baseline = new Float32Array(b);
  for (let c = 0; c < b; c++) {
    let [sum, count] = [0, 0];
    for (let i = c; i < n * b; i += b) {
      if (mask[i] === 0) continue;
      sum += evaluation[i];
      count += 1;
    }
    baseline[c] = count === 0 ? 0 : sum / count;
  }
  return baseline;
}
