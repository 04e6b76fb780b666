import type { Distribution } from '../../distributions/distribution.js';
import type { HostTensor, NamedTensors, Scalar, Tensor1D, Tensor2D, Tensor3D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { FeedbackInput } from '../../feedback/classifier.js';
import { encodeActions } from '../../networks/action-code.js';
import { applyCritic, criticLoss, criticOutputs, criticValues } from '../../networks/critic.js';
import { applyMlp } from '../../networks/mlp.js';
import { normalized, observe } from '../../networks/normalizer.js';
import { normalizedTargets, observeTargets, valuesOf } from '../../networks/value-normalizer.js';
import {
  type ClassifiedSamples,
  lossGradients,
  type OperatorForward,
  type ScalarMetrics,
} from '../improvement-step.js';
import { type ActionUnits, inUnits } from './action-units.js';
import type { AgentParameters, AgentSpec, PolicySpec } from './parameters.js';

/**
 * One update of critics and policy as pure tensor functions. Shapes: N samples, B contexts (the batch), O observation size, A
 * action dimensions.
 *
 * The policy is improved at the states that the n-step returns end in: the reference policy is sampled there once and the
 * target critics evaluate those samples once. The same values give both the critics' targets (their mean is V of that state)
 * and the policy's feedback.
 */

/** A batch of transitions as the replay gives it, and what one update needs besides. */
export type UpdateInputs = {
  /** [B, O] */
  readonly observations: Tensor2D;
  /** Canonical actions, [B, A]. */
  readonly actions: Tensor2D;
  /** n-step returns, [B]. */
  readonly returns: Tensor1D;
  /** γ^n, or 0 after a terminal state, [B]. */
  readonly discounts: Tensor1D;
  /** The observations that the returns end in, [B, O]. */
  readonly nextObservations: Tensor2D;
  /** The randomness of the samples, [N, B, A], of the kind that the policy's head reads; N is 0 if all actions are evaluated. */
  readonly noise: Tensor3D;
  /** Multiplies the learning rates of policy and critics. */
  readonly learningRateFactor: Scalar;
};

/** Samples of the reference policy with their evaluation. `samples` are in the environment's units, [N, B, A]. */
export type DrawnSamples = FeedbackInput & {
  /** The contexts as the networks see them, [B, O]. */
  readonly normalizedContexts: Tensor2D;
  /** The same samples as the policy gave them: canonical, and not clipped to the bounds, [N, B, A]. */
  readonly canonicalSamples: Tensor3D;
};

/**
 * The policy's distribution at observations [B, O] under the given parameters, which include the normalizer's if observations are
 * normalized and `observations` are not so yet.
 */
export function policyAt(spec: PolicySpec, parameters: NamedTensors, observations: Tensor2D): Distribution {
  const outputs = applyMlp(parameters, normalized(parameters, observations), spec.config.policy);
  return spec.family.create(outputs, spec.actionSize);
}

/**
 * Draws N samples per context from the reference policy and evaluates them with the target critics. If the agent evaluates all
 * actions instead, they are the N samples, each with its probability as its weight in the mask.
 */
export function drawSamples(
  spec: AgentSpec & ActionUnits,
  { reference, targetCritics, normalizer, valueNormalizer }: AgentParameters,
  { observations, nextObservations: contexts, noise }: UpdateInputs,
): DrawnSamples {
  if (spec.config.learner.normalizeObservations) observe(normalizer, observations);
  const normalizedContexts = normalized(normalizer, contexts);
  const policy = policyAt(spec, reference, normalizedContexts);
  const canonicalSamples =
    spec.allActions === undefined ? policy.sample(noise) : everyAction(spec.allActions, contexts.shape[0]);
  const outputs = ensembleValue(spec, targetCritics, normalizedContexts, canonicalSamples);
  const evaluation = valuesOf(valueNormalizer, outputs);
  const mask: Tensor2D =
    spec.allActions === undefined ? tf.onesLike(evaluation) : tf.exp(policy.logProb(canonicalSamples));
  const baseline: Tensor1D =
    spec.allActions === undefined
      ? tf.mean<Tensor1D>(evaluation, 0)
      : tf.sum<Tensor1D>(tf.mul(mask, evaluation), 0);
  return {
    canonicalSamples,
    normalizedContexts,
    samples: inUnits(tf.clipByValue(canonicalSamples, -1, 1), spec),
    contexts,
    evaluation,
    baseline,
    mask,
  };
}

/** The actions [M, A], the same for each of B contexts, [M, B, A]. */
function everyAction({ shape: [count, size], data }: HostTensor, contexts: number): Tensor3D {
  const actions: Tensor3D = tf.reshape(tf.tensor2d(data as Float32Array, [count, size]), [count, 1, size]);
  return tf.tile(actions, [1, contexts, 1]);
}

/** The ensemble's joint value of actions [N, B, A], [N, B], as the critics' outputs. */
export function ensembleValue(
  { config, actionValues }: AgentSpec,
  critics: readonly NamedTensors[],
  observations: Tensor2D,
  actions: Tensor3D,
): Tensor2D {
  const code = encodeActions(actions, actionValues);
  const values = critics.map((critic) => applyCritic(critic, observations, code, config.critic));
  if (config.critic.aggregate === 'mean') return tf.div(tf.addN(values), values.length);
  return values.reduce((least, value) => tf.minimum(least, value));
}

/** One step of the critics towards the n-step targets; the loss is the mean of the critics' errors, summed over the ensemble. */
export function improveCritics(
  spec: AgentSpec,
  { critics, criticTree, targetCritics, normalizer, valueNormalizer, optimizers }: AgentParameters,
  {
    observations,
    actions,
    returns,
    discounts,
    baseline,
    learningRateFactor,
  }: Omit<UpdateInputs, 'noise' | 'nextObservations'> & Pick<DrawnSamples, 'baseline'>,
): ScalarMetrics {
  const targets: Tensor1D = tf.add(returns, tf.mul(discounts, baseline));
  observeTargets(valueNormalizer, targets, [...critics, ...targetCritics]);
  const outputTargets = normalizedTargets(valueNormalizer, targets);
  const seen = normalized(normalizer, observations);
  const code = encodeActions(tf.expandDims<Tensor3D>(actions, 0), spec.actionValues);
  const { loss, gradients, metrics } = lossGradients(Object.values(criticTree), () => {
    const { critic: settings } = spec.config;
    const outputs = critics.map((critic) => criticOutputs(critic, seen, code, settings));
    const values = outputs.map((output) => criticValues(output, settings));
    return {
      loss: tf.addN(outputs.map((output) => criticLoss(output, outputTargets, settings))),
      metrics: { 'critic/value': tf.mean<Scalar>(valuesOf(valueNormalizer, tf.concat(values, 0))) },
    };
  });
  const named = Object.fromEntries(Object.keys(criticTree).map((name, i) => [name, gradients[i]]));
  const { gradientNorm } = optimizers.critics.apply(named, learningRateFactor);
  return {
    'critic/loss': loss,
    ...metrics,
    'critic/target': tf.mean(targets),
    'critic/gradientNorm': gradientNorm,
  };
}

/** One step of the policy, and of the operator's state, on classified samples. */
export function improvePolicy(
  spec: AgentSpec,
  { policy, reference, operator, optimizers }: AgentParameters,
  batch: ClassifiedSamples<UpdateInputs, DrawnSamples>,
): ScalarMetrics {
  const forward = operatorForward(spec, { policy, reference }, batch);
  const { gradients, metrics } = operator.gradients(policy, forward);
  const { gradientNorm } = optimizers.policy.apply(gradients, batch.learningRateFactor);
  return { ...metrics, 'policy/gradientNorm': gradientNorm };
}

/** The forward pass of the policy on classified samples of actions, as a function of its parameters. */
export function operatorForward(
  spec: AgentSpec,
  { policy, reference }: Pick<AgentParameters, 'policy' | 'reference'>,
  {
    normalizedContexts,
    canonicalSamples: samples,
    evaluation,
    accept,
    reject,
    mask,
  }: Pick<
    ClassifiedSamples<UpdateInputs, DrawnSamples>,
    'normalizedContexts' | 'canonicalSamples' | 'evaluation' | 'accept' | 'reject' | 'mask'
  >,
): () => OperatorForward & { readonly current: Distribution } {
  const old = policyAt(spec, reference, normalizedContexts);
  const referenceLogProb = old.logProb(samples);
  return () => {
    const current = policyAt(spec, policy, normalizedContexts);
    return {
      current,
      batch: {
        logProb: current.logProb(samples),
        referenceLogProb,
        evaluation,
        accept,
        reject,
        mask,
        kl: () => ({ exact: true, parts: old.kl(current) }),
        reverseKl: () => ({ exact: true, parts: current.reverseKl(old) }),
        ...(old.decoupledKl && current.decoupledLogProb
          ? {
              decoupledKl: () => ({ exact: true, parts: old.decoupledKl!(current) }),
              decoupledLogProb: () => current.decoupledLogProb!(samples, old),
            }
          : {}),
        ...(spec.family.exceedsBounds ? { boundViolation: boundViolation(samples) } : {}),
      },
      metrics: { 'policy/entropy': tf.mean(current.entropy()), 'policy/stddev': tf.mean(current.spread()) },
    };
  };
}

/** Distance of each sample [N, B, A] from the action bounds, [N, B]. */
function boundViolation(samples: Tensor3D): Tensor2D {
  const outside = tf.sub(samples, tf.clipByValue(samples, -1, 1));
  return tf.sqrt(tf.add(tf.sum<Tensor2D>(tf.square(outside), -1), 1e-12));
}
