import type { Compiled, Engine } from '../../engine/engine.js';
import type { NamedHostTensors, NamedVariables, Tensor2D, Tensor3D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { PolicySpec } from './parameters.js';
import { policyAt } from './update.js';

/** Acting with a policy that explores. Letters: K worlds, O observation size, A action dimensions. */

/** The compiled function from observations and noise to actions. */
export class Acting {
  readonly #spec: PolicySpec;
  readonly #act: Compiled;

  constructor(engine: Engine, spec: PolicySpec, policy: NamedVariables) {
    this.#spec = spec;
    this.#act = engine.jit('act', ({ observations, noise }) => ({
      actions: policyAt(spec, policy, observations as Tensor2D).sample(tf.expandDims(noise, 0) as Tensor3D),
    }));
  }

  /** Actions [K, A] for observations [K, O], drawn with noise [K, A] of the head's kind. Canonical, clipped to the bounds. */
  async run(observations: Float32Array, noise: Float32Array, numEnvs: number): Promise<Float32Array> {
    const { actions } = await this.#act.run({
      observations: { shape: [numEnvs, this.#spec.observationSize], data: observations },
      noise: { shape: [numEnvs, this.#spec.actionSize], data: noise },
    });
    return clipped(actions.data as Float32Array);
  }

  dispose(): void {
    this.#act.dispose();
  }
}

function clipped(actions: Float32Array): Float32Array {
  return actions.map((a) => Math.min(1, Math.max(-1, a)));
}

/** A policy that comes from elsewhere and is replaced now and then, on an engine of its own. */
export class ReplaceablePolicy {
  readonly #engine: Engine;
  readonly #spec: PolicySpec;
  #variables: NamedVariables = {};
  #acting: Acting | undefined;

  constructor(engine: Engine, spec: PolicySpec) {
    this.#engine = engine;
    this.#spec = spec;
  }

  /** Acts by these parameters from now on. @throws PmpoError when a shape is not that of the policy before. */
  async replace(parameters: NamedHostTensors): Promise<void> {
    if (this.#acting === undefined) {
      this.#variables = Object.fromEntries(
        Object.entries(parameters).map(([name, value]) => [
          name,
          this.#engine.variable(`policy/${name}`, value),
        ]),
      );
      this.#acting = new Acting(this.#engine, this.#spec, this.#variables);
      return;
    }
    for (const [name, variable] of Object.entries(this.#variables)) {
      await this.#engine.write(variable, parameters[name]);
    }
  }

  /** As Acting.run; only after the first `replace`. */
  act(observations: Float32Array, noise: Float32Array, numEnvs: number): Promise<Float32Array> {
    return this.#acting!.run(observations, noise, numEnvs);
  }
}
