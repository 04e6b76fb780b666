import { foldIn, type RandomKey } from '../../core/random-keys.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import { type Adam, createAdam } from '../../engine/adam.js';
import type { Engine } from '../../engine/engine.js';
import type { HostTensor, NamedHostTensors, NamedVariables } from '../../engine/tensors.js';
import { codeSize } from '../../networks/action-code.js';
import { initCritic } from '../../networks/critic.js';
import { initMlp } from '../../networks/mlp.js';
import { initNormalizer } from '../../networks/normalizer.js';
import { initValueNormalizer } from '../../networks/value-normalizer.js';
import type { Operator } from '../../operators/operator.js';
import { TrainedOperator } from '../improvement-step.js';
import type { ControlLearnerConfig, ControlUpdateConfig } from './config.js';

/** Everything that a control learner trains or copies, as variables of one engine. Shapes: A action dimensions. */

/** The size and the head of a policy network. */
export interface PolicySpec {
  readonly config: Pick<ControlLearnerConfig, 'policy'>;
  readonly family: DistributionFamily;
  readonly observationSize: number;
  readonly actionSize: number;
}

/** The settings of policy and critics, whatever their experience is. */
export interface AgentConfig extends Pick<ControlLearnerConfig, 'policy' | 'critic' | 'reference'> {
  readonly learner: Pick<
    ControlUpdateConfig,
    | 'samples'
    | 'normalizeObservations'
    | 'learningRate'
    | 'weightDecay'
    | 'stateLearningRate'
    | 'maxGradientNorm'
  >;
}

/** The sizes and settings of policy, critics and the operator's state. */
export interface AgentSpec extends PolicySpec {
  /** Number of values that each action dimension takes, 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
  readonly config: AgentConfig;
  readonly operator: Operator;
  /** All actions [M, A] if each is evaluated once in place of samples of the policy. */
  readonly allActions?: HostTensor;
}

/** The variables of a control learner, and the optimizers that move them. */
export interface AgentParameters {
  readonly policy: NamedVariables;
  /** Statistics of the observations; empty if they are not normalized. */
  readonly normalizer: NamedVariables;
  /** The parameters with which the policy acts: `policy` and `normalizer`. */
  readonly actingPolicy: NamedVariables;
  readonly reference: NamedVariables;
  /** One tree per member of the ensemble. */
  readonly critics: readonly NamedVariables[];
  /** The variables of the whole ensemble as one tree, which one optimizer trains. */
  readonly criticTree: NamedVariables;
  readonly targetCritics: readonly NamedVariables[];
  /** Statistics of the critics' targets; empty if they are not normalized. */
  readonly valueNormalizer: NamedVariables;
  readonly operator: TrainedOperator;
  readonly optimizers: { readonly policy: Adam; readonly critics: Adam };
}

function variables(engine: Engine, group: string, values: NamedHostTensors): NamedVariables {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, engine.variable(`${group}/${name}`, value)]),
  );
}

/** One tree of several, with the name of each as a prefix. */
function joined(trees: Readonly<Record<string, NamedVariables>>): NamedVariables {
  return Object.fromEntries(
    Object.entries(trees).flatMap(([prefix, tree]) =>
      Object.entries(tree).map(([name, variable]) => [`${prefix}/${name}`, variable]),
    ),
  );
}

/** The policy network's initial values: small outputs, so that every state starts with the head's initial spread. */
function initPolicy(
  { config, family, observationSize, actionSize }: PolicySpec,
  key: RandomKey,
): NamedHostTensors {
  return initMlp(key, observationSize, family.parameterCount(actionSize), config.policy, 0.1);
}

/** Creates all variables. The reference and the target critics start as copies of policy and critics. */
export function createParameters(engine: Engine, spec: AgentSpec, key: RandomKey): AgentParameters {
  const { config, operator, family, observationSize, actionSize } = spec;
  const policyValues = initPolicy(spec, foldIn(key, 'policy'));
  const criticValues = Array.from({ length: config.critic.ensemble }, (_, i) =>
    initCritic(foldIn(foldIn(key, 'critic'), i), observationSize, codeSize(spec.actionValues), config.critic),
  );
  const policy = variables(engine, 'policy', policyValues);
  const statistics = config.learner.normalizeObservations ? initNormalizer(observationSize) : {};
  const normalizer = variables(engine, 'policy', statistics);
  const critics = criticValues.map((values, i) => variables(engine, `critic${i}`, values));
  const criticTree = joined(Object.fromEntries(critics.map((tree, i) => [`critic${i}`, tree])));
  const { maxGradientNorm } = config.learner;
  const adam = (name: string, tree: NamedVariables, learningRate: number, weightDecay: number) =>
    createAdam(engine, `adam/${name}`, tree, { learningRate, weightDecay, maxGradientNorm });
  return {
    policy,
    normalizer,
    actingPolicy: { ...policy, ...normalizer },
    reference: variables(engine, 'reference', policyValues),
    critics,
    criticTree,
    targetCritics: criticValues.map((values, i) => variables(engine, `targetCritic${i}`, values)),
    valueNormalizer: variables(
      engine,
      'valueNormalizer',
      config.critic.normalizeTargets ? initValueNormalizer() : {},
    ),
    operator: new TrainedOperator({
      engine,
      operator,
      policyShape: { klParts: family.klParts(actionSize) },
      learningRate: config.learner.stateLearningRate,
      names: { state: 'state', optimizer: 'adam/state' },
    }),
    optimizers: {
      policy: adam('policy', policy, config.learner.learningRate, config.learner.weightDecay),
      critics: adam('critics', criticTree, config.critic.learningRate, config.critic.weightDecay),
    },
  };
}

/** Every variable, by its name in a checkpoint. */
export function allVariables({ operator, optimizers, ...parameters }: AgentParameters): NamedVariables {
  const numbered = (name: string, trees: readonly NamedVariables[]) =>
    Object.fromEntries(trees.map((tree, i) => [`${name}${i}`, tree]));
  return joined({
    policy: parameters.actingPolicy,
    reference: parameters.reference,
    ...numbered('critic', parameters.critics),
    ...numbered('targetCritic', parameters.targetCritics),
    valueNormalizer: parameters.valueNormalizer,
    state: operator.state,
    'adam/policy': optimizers.policy.slots,
    'adam/critics': optimizers.critics.slots,
    ...(operator.optimizer === undefined ? {} : { 'adam/state': operator.optimizer.slots }),
  });
}
