import type { Config } from '../../config/schema.js';
import { foldIn, type RandomKey } from '../../core/random-keys.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import { type Adam, createAdam } from '../../engine/adam.js';
import type { Engine } from '../../engine/engine.js';
import type { NamedHostTensors, NamedVariables } from '../../engine/tensors.js';
import { codeSize } from '../../networks/action-code.js';
import { initCritic } from '../../networks/critic.js';
import { initMlp } from '../../networks/mlp.js';
import type { Operator } from '../../operators/operator.js';

/** Everything that a control learner trains or copies, as variables of one engine. O observation size, A actions. */

/** What a policy network is made from. */
export interface PolicySpec {
  readonly config: Pick<Config, 'policy'>;
  readonly family: DistributionFamily;
  readonly observationSize: number;
  readonly actionSize: number;
}

export interface AgentSpec extends PolicySpec {
  /** How many values each action dimension takes, 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
  readonly config: Config;
  readonly operator: Operator;
}

export interface AgentParameters {
  readonly policy: NamedVariables;
  readonly reference: NamedVariables;
  /** One tree per member of the ensemble. */
  readonly critics: readonly NamedVariables[];
  /** The ensemble's variables as one tree, which is what is trained. */
  readonly criticTree: NamedVariables;
  readonly targetCritics: readonly NamedVariables[];
  /** The operator's state: temperature and other duals. */
  readonly state: NamedVariables;
  readonly optimizers: { readonly policy: Adam; readonly critics: Adam; readonly state: Adam | undefined };
}

function variables(engine: Engine, group: string, values: NamedHostTensors): NamedVariables {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, engine.variable(`${group}/${name}`, value)]),
  );
}

/** Prefixes the names of several trees, so that they make one. */
export function joined(trees: Readonly<Record<string, NamedVariables>>): NamedVariables {
  return Object.fromEntries(
    Object.entries(trees).flatMap(([prefix, tree]) =>
      Object.entries(tree).map(([name, variable]) => [`${prefix}/${name}`, variable]),
    ),
  );
}

/** The policy network's initial values: small outputs, so that every state starts with the head's initial spread. */
export function initPolicy(
  { config, family, observationSize, actionSize }: PolicySpec,
  key: RandomKey,
): NamedHostTensors {
  return initMlp(key, observationSize, family.parameterCount(actionSize), config.policy, 0.1);
}

/** Makes all variables; the reference and the target critics start as copies. */
export function createParameters(engine: Engine, spec: AgentSpec, key: RandomKey): AgentParameters {
  const { config, operator, family, observationSize, actionSize } = spec;
  const policyValues = initPolicy(spec, foldIn(key, 'policy'));
  const criticValues = Array.from({ length: config.critic.ensemble }, (_, i) =>
    initCritic(foldIn(foldIn(key, 'critic'), i), observationSize, codeSize(spec.actionValues), config.critic),
  );
  const policy = variables(engine, 'policy', policyValues);
  const critics = criticValues.map((values, i) => variables(engine, `critic${i}`, values));
  const state = variables(engine, 'state', operator.initialState({ klParts: family.klParts(actionSize) }));
  const criticTree = joined(Object.fromEntries(critics.map((tree, i) => [`critic${i}`, tree])));
  const { maxGradientNorm } = config.learner;
  const adam = (name: string, tree: NamedVariables, learningRate: number) =>
    createAdam(engine, `adam/${name}`, tree, { learningRate, maxGradientNorm });
  return {
    policy,
    reference: variables(engine, 'reference', policyValues),
    critics,
    criticTree,
    targetCritics: criticValues.map((values, i) => variables(engine, `targetCritic${i}`, values)),
    state,
    optimizers: {
      policy: adam('policy', policy, config.learner.learningRate),
      critics: adam('critics', criticTree, config.critic.learningRate),
      // Adam's step does not depend on a gradient's scale, so the duals keep their own, without a common norm.
      state:
        Object.keys(state).length === 0
          ? undefined
          : createAdam(engine, 'adam/state', state, { learningRate: config.learner.stateLearningRate }),
    },
  };
}

/** Every variable by the name it has in a checkpoint. */
export function allVariables({ optimizers, ...parameters }: AgentParameters): NamedVariables {
  const numbered = (name: string, trees: readonly NamedVariables[]) =>
    Object.fromEntries(trees.map((tree, i) => [`${name}${i}`, tree]));
  return joined({
    policy: parameters.policy,
    reference: parameters.reference,
    ...numbered('critic', parameters.critics),
    ...numbered('targetCritic', parameters.targetCritics),
    state: parameters.state,
    'adam/policy': optimizers.policy.slots,
    'adam/critics': optimizers.critics.slots,
    ...(optimizers.state === undefined ? {} : { 'adam/state': optimizers.state.slots }),
  });
}
