import { PmpoError } from '../../core/errors.js';
import type {
  Environment,
  NamedSpecs,
  NamedTensorValues,
  Reset,
  Step,
  TensorSpec,
  TensorValue,
} from '../../environments/environment.js';
import { type EpisodePhase, requireRunning } from '../../environments/episode-phase.js';
import { checkActions } from '../../environments/spec-checks.js';
import { environmentStates } from '../codec/messages.js';
import { packTensor, unpackSpec, unpackTensor } from '../codec/tensors.js';
import { DmEnvRpcError } from '../errors.js';
import {
  type ObservationRequest,
  type PlainSettings,
  RemoteWorld,
  type RemoteWorldOptions,
} from './remote-world.js';

export interface RemoteEnvironmentOptions extends RemoteWorldOptions {
  /** The observations wanted, and so sent; by default all that hold numbers, the reserved ones left out. */
  readonly observations?: readonly string[];
  /**
   * True: each observation is read into the same arrays as the one before, for callers who have taken what they need by
   * the time of their next request.
   */
  readonly reuseArrays?: boolean;
}

export interface Property {
  readonly key: string;
  readonly spec: TensorSpec;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly listable: boolean;
  readonly description: string;
}

/** A world of a dm_env_rpc server as an Environment, over a stream of its own. */
export class RemoteEnvironment implements Environment {
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  readonly #world: RemoteWorld;
  readonly #names: readonly string[];
  readonly #request: ObservationRequest;
  #phase: EpisodePhase = 'fresh';
  /** Whether the server has said that the episode is over, so that its next step starts another without a Reset. */
  #isServerAtEnd = false;

  private constructor(
    world: RemoteWorld,
    { observations, reuseArrays }: Pick<RemoteEnvironmentOptions, 'observations' | 'reuseArrays'>,
  ) {
    this.#world = world;
    // The discount is not asked for: a step's state says all that it could.
    this.#names = world.choose(observations, (name) => name === 'reward' || name === 'discount');
    this.actionSpec = world.actionSpec;
    this.observationSpec = Object.fromEntries(this.#names.map((name) => [name, world.observationSpec[name]]));
    this.#request = world.request(['reward', ...this.#names], { reuseArrays });
  }

  /**
   * Connects, makes a world (or takes the server's only one, where it makes none) and joins it.
   * @throws ConnectionLostError when nobody answers, DmEnvRpcError when the server refuses, PmpoError for specs that
   *   cannot be used.
   */
  static async connect(options: RemoteEnvironmentOptions): Promise<RemoteEnvironment> {
    const world = await RemoteWorld.join(options);
    try {
      return new RemoteEnvironment(world, options);
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  get worldName(): string {
    return this.#world.name;
  }

  async reset({ seed }: { readonly seed?: number } = {}): Promise<Reset> {
    const { observation } = await this.#endingOnError(async () => {
      if (!this.#isServerAtEnd || seed !== undefined) await this.#askReset(seed);
      return this.#exchange({});
    });
    this.#phase = 'running';
    this.#isServerAtEnd = false;
    return { observation, info: {} };
  }

  /** Asks for a new episode. A server that takes no seed is asked again without one: its episodes are its own. */
  async #askReset(seed: number | undefined): Promise<void> {
    try {
      await this.#world.reset(seed === undefined ? {} : { seed });
    } catch (error) {
      if (seed === undefined || !(error instanceof DmEnvRpcError)) throw error;
      await this.#world.reset({});
    }
  }

  async step(action: NamedTensorValues): Promise<Step> {
    const { where } = this.#world;
    requireRunning(this.#phase, where);
    checkActions(this.actionSpec, action, where);
    return this.#endingOnError(async () => {
      const { observation, reward, state } = await this.#exchange(action);
      if (reward === undefined) throw new PmpoError({ where, what: 'a step brought no reward' });
      const terminated = state === environmentStates.terminated;
      const truncated = state === environmentStates.interrupted;
      if (terminated || truncated) {
        this.#phase = 'ended';
        this.#isServerAtEnd = true;
      }
      return { observation, reward, terminated, truncated, info: {} };
    });
  }

  /** What `call` returns. When it fails the episode is over for the user; whether for the server too, nobody can tell. */
  async #endingOnError<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      this.#phase = 'ended';
      this.#isServerAtEnd = false;
      throw error;
    }
  }

  async #exchange(
    actions: NamedTensorValues,
  ): Promise<{ state: number | undefined; observation: NamedTensorValues; reward: number | undefined }> {
    const { state, values, isDirect } = await this.#world.step(actions, this.#request);
    // The decoder's values have one name more, which nobody looks at.
    if (isDirect) return { state, observation: values, reward: Number(values.reward.data[0]) };
    this.#world.check(values, this.#names);
    const { reward, ...observation } = values;
    return { state, observation, reward: reward && Number(reward.data[0]) };
  }

  /** Resets the world, for whoever is in it. */
  async resetWorld(settings: PlainSettings = {}): Promise<void> {
    await this.#world.resetWorld(settings);
    this.#phase = 'fresh';
    this.#isServerAtEnd = false;
  }

  /** The value of a property. @throws DmEnvRpcError when there is none or it cannot be read. */
  async readProperty(key: string): Promise<TensorValue> {
    const { readProperty } = await this.#world.property({ readProperty: { key } });
    return unpackTensor(readProperty?.value ?? {});
  }

  /** Sets a property. @throws DmEnvRpcError when there is none or it cannot be written. */
  async writeProperty(key: string, value: TensorValue): Promise<void> {
    await this.#world.property({ writeProperty: { key, value: packTensor(value) } });
  }

  /** The properties under a key; '' is the root. */
  async listProperties(key = ''): Promise<Property[]> {
    const { listProperty } = await this.#world.property({ listProperty: { key } });
    return (listProperty?.values ?? []).map((property) => ({
      key: property.spec?.name ?? '',
      spec: unpackSpec(property.spec ?? {}),
      readable: property.isReadable ?? false,
      writable: property.isWritable ?? false,
      listable: property.isListable ?? false,
      description: property.description ?? '',
    }));
  }

  /** Leaves the world, destroys it if this made it, and disconnects. A connection that is lost already is no error. */
  close(): Promise<void> {
    return this.#world.close();
  }
}
