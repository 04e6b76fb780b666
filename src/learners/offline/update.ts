import type { HostTensor, Scalar, Tensor1D, Tensor2D, Tensor3D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { normalized, observe } from '../../networks/normalizer.js';
import { valuesOf } from '../../networks/value-normalizer.js';
import { type ActionUnits, inUnits } from '../control/action-units.js';
import type { AgentParameters, AgentSpec } from '../control/parameters.js';
import {
  type DrawnSamples,
  ensembleValue,
  improveCritics,
  operatorForward,
  policyAt,
  type UpdateInputs,
} from '../control/update.js';
import type { ClassifiedSamples, ScalarMetrics } from '../improvement-step.js';
import type { OfflineLearnerConfig } from './config.js';

/**
 * One update of critics and policy on fixed data, as pure tensor functions. Shapes: N samples, B contexts (the batch), O observation size,
 * A action dimensions, M the actions of a context to which feedback and operator apply: 1 (the data's own), N, or 1 + N.
 *
 * The policy is improved at the states of the data. Its value there is the mean of the target critics over N samples of the reference,
 *
 *     V(s) = mean_n Q(s, a_n),    a_n ~ π_ref(·|s),
 *
 * and the advantage of the data's own action is Q(s, a) − V(s), as in Critic Regularized Regression (arXiv 2006.15134, equations 3 and 4).
 * The critics learn n-step returns of the data that end in V of the state s′ in which they end: policy evaluation with target networks.
 * The loss of the policy is
 *
 *     L = w · operator(log π(y|s), feedback) − b · mean log π(a|s)
 *
 * with the weight b of behavior cloning. Up to a constant, −mean log π(a|s) is KL(data ‖ policy). So for the data's own actions b has the
 * place that β has in PMPO's objective (arXiv 2410.04166, equation 10), where the KL is that of the distribution which the samples come from.
 */

/** The parts of an offline agent. */
export interface OfflineSpec extends AgentSpec, ActionUnits {
  readonly actionValues: Int32Array;
  readonly config: OfflineLearnerConfig;
}

/**
 * A batch of the data set, and what one update needs besides. Its actions are the data's, and its noise that of the samples at
 * `observations` and then of those at `nextObservations`, [2N, B, A].
 */
export type OfflineInputs = UpdateInputs;

/** The actions of each context, evaluated; all planes are [M, B]. */
export type EvaluatedActions = DrawnSamples & {
  /** V(s′), [B]. */
  readonly nextBaseline: Tensor1D;
  /** Q(s, a) − V(s) of the data's own actions, [B]. */
  readonly dataAdvantage: Tensor1D;
};

/** Evaluates the data's own actions and samples of the reference policy with the target critics. */
export function evaluateActions(
  spec: OfflineSpec,
  { reference, targetCritics, normalizer, valueNormalizer }: AgentParameters,
  { observations, nextObservations, actions, noise }: OfflineInputs,
): EvaluatedActions {
  const { learner } = spec.config;
  if (learner.normalizeObservations) observe(normalizer, observations);
  const [here, there] = tf.split<Tensor3D>(noise, 2, 0);
  const value = (contexts: Tensor2D, samples: Tensor3D): Tensor2D =>
    valuesOf(valueNormalizer, ensembleValue(spec, targetCritics, contexts, samples));
  const contexts = normalized(normalizer, observations);
  const samples = policyAt(spec, reference, contexts).sample(here!);
  const own: Tensor3D = tf.expandDims(actions, 0);
  const values = value(contexts, tf.concat([own, samples], 0));
  const [ownValue, sampleValues] = tf.split<Tensor2D>(values, [1, learner.samples], 0);
  const baseline: Tensor1D = tf.mean(sampleValues!, 0);
  const next = normalized(normalizer, nextObservations);
  const nextSamples = policyAt(spec, reference, next).sample(there!);
  const nextBaseline: Tensor1D = tf.mean(value(next, nextSamples), 0);
  const canonicalSamples =
    learner.actions === 'data' ? own : learner.actions === 'policy' ? samples : tf.concat([own, samples], 0);
  const evaluation =
    learner.actions === 'data' ? ownValue! : learner.actions === 'policy' ? sampleValues! : values;
  return {
    canonicalSamples,
    normalizedContexts: contexts,
    samples: inUnits(tf.clipByValue(canonicalSamples, -1, 1), spec),
    contexts: observations,
    evaluation,
    baseline,
    mask: tf.onesLike(evaluation),
    nextBaseline,
    dataAdvantage: tf.sub(tf.squeeze(ownValue!, [0]), baseline),
  };
}

/** One step of critics, policy and operator state. */
export function improveOffline(
  spec: OfflineSpec,
  parameters: AgentParameters,
  batch: ClassifiedSamples<OfflineInputs, EvaluatedActions>,
): ScalarMetrics {
  const { actions, baseline, dataAdvantage, learningRateFactor } = batch;
  const { behaviorCloning, operatorWeight } = spec.config.learner;
  const critics = improveCritics(spec, parameters, { ...batch, baseline: batch.nextBaseline });
  const forward = operatorForward(spec, parameters, batch);
  const own: Tensor3D = tf.expandDims(actions, 0);
  const { gradients, metrics } = parameters.operator.gradients(parameters.policy, () => {
    const { current, batch: operatorBatch, metrics: more } = forward();
    const dataLogProb: Scalar = tf.mean(current.logProb(own));
    return {
      batch: { ...operatorBatch, baseline },
      metrics: { ...more, 'policy/logProb/data': dataLogProb },
      operatorWeight,
      ...(behaviorCloning === 0 ? {} : { addedLoss: tf.mul<Scalar>(dataLogProb, -behaviorCloning) }),
    };
  });
  const { gradientNorm } = parameters.optimizers.policy.apply(gradients, learningRateFactor);
  return {
    ...critics,
    ...metrics,
    'policy/gradientNorm': gradientNorm,
    'data/advantage': tf.mean(dataAdvantage),
    'data/positiveAdvantage': tf.mean(tf.cast(tf.greater(dataAdvantage, 0), 'float32')),
  };
}

/** The shape of the noise of an update, [2N, B, A]. */
export function noiseShape(
  { samples, batchSize }: OfflineLearnerConfig['learner'],
  actionSize: number,
): HostTensor['shape'] {
  return [2 * samples, batchSize, actionSize];
}
