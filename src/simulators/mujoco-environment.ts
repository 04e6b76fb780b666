import { ConfigError, PmpoError } from '../core/errors.js';
import { foldIn, type RandomKey, randomKey } from '../core/random-keys.js';
import type { Vector } from '../core/rotations.js';
import type { Scene } from '../core/scene.js';
import type { Environment, NamedSpecs, NamedTensorValues, Reset, Step } from '../environments/environment.js';
import { Physics } from './physics.js';
import type { Observations, Task, TaskDefinition } from './task.js';

/** The name of the only action of every task: a vector with one element per actuator. */
export const actionName = 'action';

/** Options of a MujocoEnvironment. */
export interface MujocoEnvironmentOptions {
  /** The control steps after which an episode is truncated. */
  readonly episodeSteps: number;
  /** The control steps for which each action is held; their rewards are added up. */
  readonly actionRepeat: number;
  /** The random key of episodes that are reset without a seed. */
  readonly key: RandomKey;
}

/** A task on a MuJoCo model as an Environment: float32 observations and actions, episodes truncated at the time limit. */
export class MujocoEnvironment implements Environment {
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  readonly #name: string;
  readonly #physics: Physics;
  readonly #task: Task;
  readonly #substeps: number;
  readonly #options: MujocoEnvironmentOptions;
  readonly #minimum: readonly number[];
  readonly #maximum: readonly number[];
  #episodes = 0;
  /** Control steps taken in this episode; undefined before the first reset and after an episode's end. */
  #taken: number | undefined;

  private constructor(definition: TaskDefinition, physics: Physics, options: MujocoEnvironmentOptions) {
    this.#name = definition.name;
    this.#physics = physics;
    this.#substeps = definition.substeps;
    this.#options = options;
    this.#task = definition.bind(physics);
    const { minimum, maximum } = physics.controlRange();
    this.#minimum = minimum;
    this.#maximum = maximum;
    this.actionSpec = {
      [actionName]: { name: actionName, shape: [physics.nu], dtype: 'float32', minimum, maximum },
    };
    physics.forward();
    const observations = Object.entries(this.#task.observe());
    this.observationSpec = Object.fromEntries(
      observations.map(([name, { length }]) => [name, { name, shape: [length], dtype: 'float32' as const }]),
    );
  }

  /** Compiles the model. @throws PmpoError for an invalid model, ConfigError for wrong options. */
  static async create(
    definition: TaskDefinition,
    options: MujocoEnvironmentOptions,
  ): Promise<MujocoEnvironment> {
    if (options.episodeSteps % options.actionRepeat !== 0) {
      throw new ConfigError({
        what: `episodeSteps is ${options.episodeSteps}, which is not a multiple of actionRepeat, ${options.actionRepeat}`,
        where: definition.name,
        remedy: 'Choose an actionRepeat that divides episodeSteps',
      });
    }
    return new MujocoEnvironment(definition, await Physics.load(definition.mjcf), options);
  }

  async reset({ seed }: { readonly seed?: number } = {}): Promise<Reset> {
    const key = seed === undefined ? foldIn(this.#options.key, this.#episodes) : randomKey(seed);
    this.#episodes++;
    this.#taken = 0;
    this.#physics.reset();
    this.#task.initialize(key);
    this.#physics.forward();
    return { observation: this.#observe(), info: {} };
  }

  async step(action: NamedTensorValues): Promise<Step> {
    if (this.#taken === undefined) {
      throw new PmpoError({ what: 'no episode is open', where: this.#name, remedy: 'Reset it first' });
    }
    this.#setControls(action);
    const { actionRepeat, episodeSteps } = this.#options;
    let reward = 0;
    for (let i = 0; i < actionRepeat; i++) {
      try {
        this.#physics.step(this.#substeps);
      } catch (error) {
        this.#taken = undefined;
        throw error;
      }
      reward += this.#task.reward();
    }
    this.#taken += actionRepeat;
    const truncated = this.#taken >= episodeSteps;
    if (truncated) this.#taken = undefined;
    return { observation: this.#observe(), reward, terminated: false, truncated, info: {} };
  }

  async scene(): Promise<Scene> {
    const seconds = this.#physics.timestep * this.#substeps * this.#options.actionRepeat;
    return { ...this.#physics.scene(), secondsPerStep: seconds };
  }

  async poses(): Promise<Float32Array> {
    return this.#physics.bodyPoses();
  }

  /** The mass of all bodies together, in kg. */
  get mass(): number {
    return this.#physics.mass;
  }

  /**
   * Pushes a body from outside, in all steps until it is pushed otherwise or the next reset.
   * @param body its row in the poses
   * @param force in newtons, along the world's axes; zero to let go
   * @param point where it is pushed, in the world, in meters
   */
  push(body: number, force: Vector, point: Vector): void {
    // The world is the first body of a model, and has no pose.
    this.#physics.push(body + 1, force, point);
  }

  async close(): Promise<void> {
    this.#taken = undefined;
    this.#physics.close();
  }

  #setControls(action: NamedTensorValues): void {
    const refusal = (what: string) => new PmpoError({ what, where: `${this.#name}: ${actionName}` });
    const value = action[actionName];
    if (value === undefined) {
      throw refusal(`it is missing; got ${Object.keys(action).join(', ') || 'no actions'}`);
    }
    if (value.dtype !== 'float32' || value.shape.length !== 1 || value.shape[0] !== this.#physics.nu) {
      throw refusal(
        `expected float32 of shape [${this.#physics.nu}], got ${value.dtype} of shape [${value.shape.join(', ')}]`,
      );
    }
    const ctrl = this.#physics.ctrl;
    const data = value.data as Float32Array;
    for (let i = 0; i < ctrl.length; i++) {
      const control = data[i];
      if (!(control >= this.#minimum[i] && control <= this.#maximum[i])) {
        throw refusal(`element ${i} is ${control}, outside [${this.#minimum[i]}, ${this.#maximum[i]}]`);
      }
    }
    ctrl.set(data);
  }

  #observe(): NamedTensorValues {
    const observations: Observations = this.#task.observe();
    return Object.fromEntries(
      Object.entries(observations).map(([name, values]) => [
        name,
        { dtype: 'float32' as const, shape: [values.length], data: Float32Array.from(values) },
      ]),
    );
  }
}
