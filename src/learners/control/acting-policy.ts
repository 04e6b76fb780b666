import type { Compiled, Engine } from '../../engine/engine.js';
import type { NamedHostTensors, NamedVariables, Tensor2D, Tensor3D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { PolicySpec } from './parameters.js';
import { policyAt } from './update.js';

/** Policies that act, with exploration. Shapes: K environments, O observation size, A action dimensions. */

/** The compiled function from observations and noise to actions. */
export class ActingPolicy {
  readonly #spec: PolicySpec;
  readonly #act: Compiled<{ observations: Tensor2D; noise: Tensor2D }, { actions: Tensor3D }>;

  constructor(engine: Engine, spec: PolicySpec, policy: NamedVariables) {
    this.#spec = spec;
    this.#act = engine.jit('act', ({ observations, noise }: { observations: Tensor2D; noise: Tensor2D }) => ({
      actions: policyAt(spec, policy, observations).sample(tf.expandDims<Tensor3D>(noise, 0)),
    }));
  }

  /**
   * Samples an action for each observation.
   * @param observations [K, O]
   * @param noise [K, A] of the kind that the policy's head reads.
   * @returns canonical actions [K, A], clipped to the bounds.
   */
  async act(observations: Float32Array, noise: Float32Array, numEnvs: number): Promise<Float32Array> {
    const { actions } = await this.#act.run({
      observations: { shape: [numEnvs, this.#spec.observationSize], data: observations },
      noise: { shape: [numEnvs, this.#spec.actionSize], data: noise },
    });
    return actions.data.map((a) => Math.min(1, Math.max(-1, a)));
  }
}

/** A policy whose parameters come from a learner in another process and are replaced now and then. */
export class ReplaceablePolicy {
  readonly #engine: Engine;
  readonly #spec: PolicySpec;
  #variables: NamedVariables = {};
  #acting: ActingPolicy | undefined;

  constructor(engine: Engine, spec: PolicySpec) {
    this.#engine = engine;
    this.#spec = spec;
  }

  /** Acts with these parameters from now on. @throws PmpoError when a shape differs from that of the policy before. */
  async replace(parameters: NamedHostTensors): Promise<void> {
    if (this.#acting === undefined) {
      this.#variables = Object.fromEntries(
        Object.entries(parameters).map(([name, value]) => [
          name,
          this.#engine.variable(`policy/${name}`, value),
        ]),
      );
      this.#acting = new ActingPolicy(this.#engine, this.#spec, this.#variables);
      return;
    }
    for (const [name, variable] of Object.entries(this.#variables)) {
      await this.#engine.write(variable, parameters[name]);
    }
  }

  /** See ActingPolicy.act. Call it only after the first `replace`. */
  act(observations: Float32Array, noise: Float32Array, numEnvs: number): Promise<Float32Array> {
    return this.#acting!.act(observations, noise, numEnvs);
  }
}
