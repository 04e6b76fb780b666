import type { Distribution } from '../../distributions/distribution.js';
import type {
  NamedTensors,
  NamedVariables,
  Scalar,
  Tensor1D,
  Tensor2D,
  Tensor3D,
} from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { encodeActions } from '../../networks/action-code.js';
import { applyCritic } from '../../networks/critic.js';
import { applyMlp } from '../../networks/mlp.js';
import type { OperatorBatch } from '../../operators/operator.js';
import type { AgentParameters, AgentSpec, PolicySpec } from './parameters.js';

/**
 * One learner update as pure tensor functions. Letters: N samples, B contexts (the batch), O observation size, A action
 * dimensions.
 *
 * The contexts that the policy is improved on are the states that the n-step returns end in: the reference policy is
 * sampled there once, the target critics evaluate those samples once, and the same values make both the critics' targets
 * (their mean is V of that state) and the policy's feedback.
 */

/** [B, …] each, as the replay gives them. */
export interface UpdateInputs {
  readonly observations: Tensor2D;
  readonly actions: Tensor2D;
  readonly returns: Tensor1D;
  readonly discounts: Tensor1D;
  readonly nextObservations: Tensor2D;
}

export interface Samples {
  /** Canonical actions, [N, B, A]. */
  readonly samples: Tensor3D;
  /** f(x, y), [N, B]. */
  readonly evaluation: Tensor2D;
  /** V(x), the mean evaluation, [B]. */
  readonly baseline: Tensor1D;
}

/** The policy's distribution at observations [B, O] under the given parameters. */
export function policyAt(spec: PolicySpec, parameters: NamedTensors, observations: Tensor2D): Distribution {
  const outputs = applyMlp(parameters, observations, spec.config.policy);
  return spec.family.create(outputs, spec.actionSize);
}

/** The ensemble's joint value of actions [N, B, A], [N, B]. */
function ensembleValue(
  { config, actionValues }: AgentSpec,
  critics: readonly NamedTensors[],
  observations: Tensor2D,
  actions: Tensor3D,
): Tensor2D {
  const code = encodeActions(actions, actionValues);
  const values = critics.map((critic) => applyCritic(critic, observations, code, config.critic));
  if (config.critic.aggregate === 'mean') return tf.div(tf.addN(values), values.length) as Tensor2D;
  return values.reduce((least, value) => tf.minimum(least, value) as Tensor2D);
}

/** Draws N samples per context from the reference policy and evaluates them with the target critics. */
export function drawSamples(
  spec: AgentSpec,
  { reference, targetCritics }: AgentParameters,
  contexts: Tensor2D,
  noise: Tensor3D,
): Samples {
  const samples = policyAt(spec, reference, contexts).sample(noise);
  const evaluation = ensembleValue(spec, targetCritics, contexts, samples);
  return { samples, evaluation, baseline: tf.mean(evaluation, 0) as Tensor1D };
}

/** One step of the critics towards the n-step targets; the loss is the mean squared error, summed over the ensemble. */
export function improveCritics(
  spec: AgentSpec,
  { critics, criticTree, optimizers }: AgentParameters,
  inputs: UpdateInputs,
  baseline: Tensor1D,
  learningRateFactor: Scalar,
): Record<string, Scalar> {
  const targets = tf.add(inputs.returns, tf.mul(inputs.discounts, baseline));
  const actions = encodeActions(tf.expandDims(inputs.actions, 0) as Tensor3D, spec.actionValues);
  let byproducts: Record<string, Scalar> = {};
  const loss = () => {
    const values = critics.map((critic) =>
      applyCritic(critic, inputs.observations, actions, spec.config.critic),
    );
    byproducts = keptAll({ 'critic/value': tf.mean(tf.concat(values, 0)) as Scalar });
    return tf.addN(values.map((value) => tf.mean(tf.squaredDifference(value, targets)))) as Scalar;
  };
  const { value, grads } = tf.variableGrads(loss, Object.values(criticTree));
  const { gradientNorm } = optimizers.critics.apply(byKey(criticTree, grads), learningRateFactor);
  return {
    'critic/loss': value as Scalar,
    ...released(byproducts),
    'critic/target': tf.mean(targets) as Scalar,
    'critic/gradientNorm': gradientNorm,
  };
}

/** Keeps what is made inside a differentiated function, where everything but the loss is disposed of at the end. */
function keptAll(values: Record<string, Scalar>): Record<string, Scalar> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, tf.keep(tf.clone(value))]));
}

/** Hands kept tensors over to the scope of the caller. */
function released(values: Record<string, Scalar>): Record<string, Scalar> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const own = tf.clone(value);
      value.dispose();
      return [name, own];
    }),
  );
}

/** Gradients by the tree's own keys, from those by variable name; 0 for what the loss does not depend on. */
function byKey(tree: NamedVariables, gradients: NamedTensors): NamedTensors {
  return Object.fromEntries(
    Object.entries(tree).map(([key, variable]) => [key, gradients[variable.name] ?? tf.zerosLike(variable)]),
  );
}

/** Sets variables to values of the same keys. */
function assignAll(tree: NamedVariables, values: NamedTensors): void {
  for (const [key, variable] of Object.entries(tree)) variable.assign(values[key]);
}

/** One step of the policy, and of the operator's state, on classified samples. */
export function improvePolicy(
  spec: AgentSpec,
  { policy, reference, state, optimizers }: AgentParameters,
  contexts: Tensor2D,
  { samples, evaluation }: Samples,
  { accept, reject, mask }: { readonly accept: Tensor2D; readonly reject: Tensor2D; readonly mask: Tensor2D },
  learningRateFactor: Scalar,
): Record<string, Scalar> {
  const old = policyAt(spec, reference, contexts);
  const referenceLogProb = old.logProb(samples);
  let byproducts: Record<string, Scalar> = {};
  const loss = () => {
    const current = policyAt(spec, policy, contexts);
    const batch: OperatorBatch = {
      logProb: current.logProb(samples),
      referenceLogProb,
      evaluation,
      accept,
      reject,
      mask,
      kl: () => ({ exact: true, parts: old.kl(current) }),
      ...(old.decoupledKl && current.decoupledLogProb
        ? {
            decoupledKl: () => ({ exact: true, parts: old.decoupledKl!(current) }),
            decoupledLogProb: () => current.decoupledLogProb!(samples, old),
          }
        : {}),
      ...(spec.family.exceedsBounds ? { boundViolation: boundViolation(samples) } : {}),
    };
    const result = spec.operator.loss(batch, state);
    byproducts = keptAll({
      ...result.metrics,
      'policy/entropy': tf.mean(current.entropy()) as Scalar,
      'policy/stddev': tf.mean(current.spread()) as Scalar,
    });
    return result.loss;
  };
  const { value, grads } = tf.variableGrads(loss, [...Object.values(policy), ...Object.values(state)]);
  const { gradientNorm } = optimizers.policy.apply(byKey(policy, grads), learningRateFactor);
  if (optimizers.state !== undefined) {
    optimizers.state.apply(byKey(state, grads));
    assignAll(state, spec.operator.projectState?.(state) ?? state);
  }
  return { 'policy/loss': value as Scalar, ...released(byproducts), 'policy/gradientNorm': gradientNorm };
}

/** Distance of each sample [N, B, A] from the action bounds, [N, B]. */
function boundViolation(samples: Tensor3D): Tensor2D {
  const outside = tf.sub(samples, tf.clipByValue(samples, -1, 1));
  return tf.sqrt(tf.add(tf.sum(tf.square(outside), -1), 1e-12)) as Tensor2D;
}
