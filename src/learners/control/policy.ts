import { PmpoError } from '../../core/errors.js';
import { createFamily } from '../../distributions/create.js';
import type { Compiled, Engine } from '../../engine/engine.js';
import { withMetadata } from '../../engine/onnx/model.js';
import { type HostTensor, hostTensor, type NamedVariables, type Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { applyMlp } from '../../networks/mlp.js';
import { normalized } from '../../networks/normalizer.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import { inUnits } from './action-units.js';
import type { ControlLearnerConfig } from './config.js';
import { episodeReturns } from './evaluate.js';
import type { ExperienceShape } from './experience.js';
import { type EnvironmentShape, requireSameKind } from './policy-fit.js';
import { layoutOf, type PolicyLayout, policyMetadata } from './policy-metadata.js';

/** What a policy needs to know of an environment. */
export function shapeOf(
  environment: ExperienceShape & Pick<VectorEnvironment, 'actionLayout'>,
): EnvironmentShape {
  const { observationSize, actionMinimum, actionMaximum, actionValues } = environment;
  return { observationSize, actionMinimum, actionMaximum, actionValues, layout: layoutOf(environment) };
}

/** The shape of the environments in which a checkpoint's policy was trained. @throws PmpoError when a checkpoint does not tell. */
export function shapeInCheckpoint({ tensors, metadata }: Checkpoint): EnvironmentShape {
  const need = (name: string): HostTensor => {
    const tensor = tensors[name];
    if (tensor === undefined) throw new PmpoError({ where: `checkpoint, ${name}`, what: 'it is missing' });
    return hostTensor(tensor);
  };
  return {
    observationSize:
      typeof metadata.observationSize === 'number'
        ? metadata.observationSize
        : need('acting/observations').shape[1],
    actionMinimum: need('acting/actionMinimum').data as Float32Array,
    actionMaximum: need('acting/actionMaximum').data as Float32Array,
    actionValues: need('acting/actionValues').data as Int32Array,
    layout: metadata.layout as PolicyLayout | undefined,
  };
}

/** Observations, [B, O]. */
interface PolicyInput {
  readonly observation: Tensor2D;
}

/**
 * A policy that has been trained: it acts greedily, can be evaluated, and is exported as an ONNX model. Shapes: B observations,
 * K environments, O observation size, A action dimensions.
 */
export class TrainedPolicy {
  readonly shape: EnvironmentShape;
  readonly #engine: Engine;
  /** The most likely canonical actions, clipped to the bounds. */
  readonly #mode: (observations: Tensor2D) => Tensor2D;
  readonly #act: Compiled<PolicyInput, { readonly action: Tensor2D }>;

  /** @param parameters the policy network's variables, which belong to `engine`. */
  constructor(
    engine: Engine,
    { policy }: Pick<ControlLearnerConfig, 'policy'>,
    shape: EnvironmentShape,
    parameters: NamedVariables,
  ) {
    const family = createFamily(policy, shape.actionValues);
    const actionSize = shape.actionMinimum.length;
    this.shape = shape;
    this.#engine = engine;
    this.#mode = (observations) => {
      const outputs = applyMlp(parameters, normalized(parameters, observations), policy);
      return tf.clipByValue(family.create(outputs, actionSize).mode(), -1, 1);
    };
    this.#act = engine.jit('actGreedily', ({ observation }: PolicyInput) => ({
      action: this.#mode(observation),
    }));
  }

  /**
   * The policy in a checkpoint of a control job. Its variables are created in `engine`.
   * @throws PmpoError when the checkpoint does not contain one.
   */
  static fromCheckpoint(
    engine: Engine,
    config: Pick<ControlLearnerConfig, 'policy'>,
    { tensors, metadata }: Checkpoint,
  ): TrainedPolicy {
    const shape = shapeInCheckpoint({ tensors, metadata });
    const parameters = Object.entries(tensors).flatMap(([name, value]) =>
      name.startsWith('policy/')
        ? [[name.slice('policy/'.length), engine.variable(name, hostTensor(value))] as const]
        : [],
    );
    return new TrainedPolicy(engine, config, shape, Object.fromEntries(parameters));
  }

  /** The most likely canonical actions [K, A] at observations [K, O]. */
  async act(observations: Float32Array, numEnvs: number): Promise<Float32Array> {
    const observation = { shape: [numEnvs, this.shape.observationSize], data: observations };
    const { action } = await this.#act.run({ observation });
    return action.data;
  }

  /**
   * Undiscounted returns of whole episodes, acting greedily.
   * @throws PmpoError when the environments differ in kind from those that the policy was trained in.
   */
  async evaluate(environment: VectorEnvironment, episodes: number, signal?: AbortSignal): Promise<number[]> {
    requireSameKind(
      shapeOf(environment),
      this.shape,
      'Evaluate in the simulator that the run was trained in',
    );
    return episodeReturns(
      environment,
      episodes,
      (observations) => this.act(observations, environment.numEnvs),
      signal,
    );
  }

  /**
   * The greedy policy as an ONNX model for any number of observations at once: from `observation` [B, O] (the named
   * observations one after the other, in the sorted order of their names, images divided by 255, categories as one-hot codes; see
   * flattenObservations) to `action` [B, A] in the environment's units and `canonicalAction` [B, A], the same within −1 … 1. Its
   * metadata name the observations and actions and their places (policy-metadata.ts).
   * @param about further metadata, by name.
   */
  async exportOnnx(about: Readonly<Record<string, string>> = {}): Promise<Uint8Array> {
    const policy = ({ observation }: PolicyInput) => {
      const canonicalAction = this.#mode(observation);
      return { canonicalAction, action: inUnits(canonicalAction, this.shape) };
    };
    const { observationSize, layout } = this.shape;
    const model = await this.#engine.exportOnnx(
      'policy',
      policy,
      { observation: [1, observationSize] },
      true,
    );
    return withMetadata(model, {
      ...about,
      ...(layout === undefined ? {} : policyMetadata(layout, this.shape)),
    });
  }
}
