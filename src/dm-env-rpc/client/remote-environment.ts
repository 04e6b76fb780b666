import { PmpoError } from '../../core/errors.js';
import type { Scene } from '../../core/scene.js';
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
import { specDifference } from '../../environments/spec-difference.js';
import { statusCode } from '../../grpc/status.js';
import { environmentStates } from '../codec/messages.js';
import type { PlainSettings } from '../codec/settings.js';
import { packTensor, unpackSpec, unpackTensor } from '../codec/tensors.js';
import { DmEnvRpcError } from '../errors.js';
import { type ObservationRequest, RemoteWorld, type RemoteWorldOptions } from './remote-world.js';
import { reservedObservations } from './reserved-observations.js';

/** How to reach a server, which world to join, and which observations to request. */
export interface RemoteEnvironmentOptions extends RemoteWorldOptions {
  /** The observations to request; by default all that hold numbers, except the reserved `reward` and `discount`. */
  readonly observations?: readonly string[];
  /**
   * True: each observation overwrites the arrays of the one before, which is faster. The caller must have read an observation
   * before the next reset or step. Default: false.
   */
  readonly reuseArrays?: boolean;
  /** Receives a line when a reset goes without the seed that it was to have; the same line for each environment of a server. */
  readonly notice?: (message: string) => void;
}

/** A property of a world (dm_env_rpc's properties extension). */
export interface Property {
  readonly key: string;
  readonly spec: TensorSpec;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Whether it has properties below its key. */
  readonly listable: boolean;
  readonly description: string;
}

/** A world of a dm_env_rpc v1 server as an Environment, over a separate stream. */
export class RemoteEnvironment implements Environment {
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  readonly #options: RemoteEnvironmentOptions;
  #world: RemoteWorld;
  readonly #names: readonly string[];
  #request: ObservationRequest;
  /** Whether the server sends discounts of its own. */
  readonly #hasDiscount: boolean;
  #phase: EpisodePhase = 'fresh';
  /** Whether the server has ended the episode, so that the next step starts another one without a Reset. */
  #isServerAtEnd = false;
  /** Whether the world has been joined and not stepped: the next step starts an episode, too. */
  #isJustJoined = true;
  /** False for a server that lacks Reset, or that ends the stream at a Reset with a seed. */
  #hasReset = true;
  #takesSeeds = true;
  #hasSaidSeedless = false;

  private constructor(world: RemoteWorld, options: RemoteEnvironmentOptions) {
    this.#options = options;
    this.#world = world;
    this.#names = world.choose(options.observations, (name) => name === 'reward' || name === 'discount');
    this.actionSpec = world.actionSpec;
    this.observationSpec = Object.fromEntries(this.#names.map((name) => [name, world.observationSpec[name]]));
    const reserved = reservedObservations(world.where, world.observationSpec);
    this.#hasDiscount = reserved.includes('discount');
    this.#request = world.request([...reserved, ...this.#names], options);
  }

  /**
   * Connects, creates a world (unless the server has only a ready-made one) and joins it.
   * @throws ConnectionLostError if no server answers, DmEnvRpcError if the server refuses, PmpoError for unusable specs.
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

  get where(): string {
    return this.#world.where;
  }

  /** The name of the world on the server. */
  get worldName(): string {
    return this.#world.name;
  }

  async reset({ seed }: { readonly seed?: number } = {}): Promise<Reset> {
    const { observation, state } = await this.#endingOnError(async () => {
      if (!this.#isServerAtEnd || seed !== undefined) await this.#requestReset(seed);
      return this.#exchange({});
    });
    return { observation, ...this.#enter(state), info: {} };
  }

  /** Enters the phase that the state of a response leads to. */
  #enter(state: number | undefined): { terminated: boolean; truncated: boolean } {
    const terminated = state === environmentStates.terminated;
    const truncated = state === environmentStates.interrupted;
    this.#isServerAtEnd = terminated || truncated;
    this.#phase = this.#isServerAtEnd ? 'ended' : 'running';
    return { terminated, truncated };
  }

  /**
   * Has the next step start an episode. If the server does not take a seed, requests one without it; if it lacks Reset, the next
   * step starts one after an end, and after joining a world.
   */
  async #requestReset(seed: number | undefined): Promise<void> {
    if (this.#hasReset) {
      try {
        await this.#world.reset(seed === undefined || !this.#takesSeeds ? {} : { seed });
        return;
      } catch (error) {
        if (!(error instanceof DmEnvRpcError)) throw error;
        if (error.code === statusCode('UNIMPLEMENTED')) this.#hasReset = false;
        else if (seed === undefined || !this.#takesSeeds) throw error;
        else if (this.#world.isLost) this.#takesSeeds = false;
        else {
          await this.#world.reset({});
          this.#saySeedless(error);
          return;
        }
        if (seed !== undefined) this.#saySeedless(error);
      }
    }
    if (this.#world.isLost || !(this.#isServerAtEnd || this.#isJustJoined)) await this.#joinAgain();
  }

  /** Says, the first time, that an episode has begun without its seed. */
  #saySeedless({ message }: DmEnvRpcError): void {
    if (this.#hasSaidSeedless) return;
    this.#hasSaidSeedless = true;
    this.#options.notice?.(
      `${message}. So it was not given the seed of the episode: runs with the same seed may differ, and a resumed run may not find its open episodes again`,
    );
  }

  /** Joins a new world of the same kind. @throws PmpoError if its specs differ. */
  async #joinAgain(): Promise<void> {
    await this.#world.close();
    const world = await RemoteWorld.join(this.#options);
    const difference = specDifference(world, this.#world);
    if (difference !== undefined) {
      await world.close();
      throw new PmpoError({
        where: world.where,
        what: `its specs are not those of the world before it: ${difference}`,
        remedy: 'A policy is made for one set of specs: start a new run for the new ones',
      });
    }
    this.#world = world;
    this.#request = world.request([...this.#request.names.values()], this.#options);
    this.#isJustJoined = true;
  }

  async step(action: NamedTensorValues): Promise<Step> {
    const { where } = this.#world;
    requireRunning(this.#phase, where);
    checkActions(this.actionSpec, action, where);
    return this.#endingOnError(async () => {
      const { observation, reward, discount, state } = await this.#exchange(action);
      const missing = reward === undefined ? 'reward' : 'discount';
      if (reward === undefined || (discount === undefined && this.#hasDiscount)) {
        throw new PmpoError({ where, what: `the response to a step has no ${missing}` });
      }
      return { observation, reward, discount, ...this.#enter(state), info: {} };
    });
  }

  /** Makes a call. If it fails, the episode is over for the user; whether it is for the server is unknown. */
  async #endingOnError<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      this.#phase = 'ended';
      this.#isServerAtEnd = false;
      throw error;
    }
  }

  async #exchange(actions: NamedTensorValues) {
    this.#isJustJoined = false;
    const { state, values, isDirect } = await this.#world.step(actions, this.#request);
    // The decoder's values include reward and discount, which users of the observation ignore.
    const numberOf = (value?: TensorValue) => value && Number(value.data[0]);
    const [reward, discount] = [numberOf(values.reward), numberOf(values.discount)];
    if (isDirect) return { state, observation: values, reward, discount };
    this.#world.requireAll(values, this.#names);
    const { reward: _, discount: __, ...observation } = values;
    return { state, observation, reward, discount };
  }

  verifySteps(): Promise<void> {
    return this.#world.requireInStep();
  }

  scene(): Promise<Scene | undefined> {
    return this.#world.scene(0);
  }

  poses(): Promise<Float32Array> {
    return this.#world.poses(0);
  }

  /** Resets the world, also for another connection that uses it. @throws DmEnvRpcError if the server refuses. */
  async resetWorld(settings: PlainSettings = {}): Promise<void> {
    await this.#world.resetWorld(settings);
    this.#phase = 'fresh';
    this.#isServerAtEnd = false;
  }

  /** The value of a property. @throws DmEnvRpcError if it does not exist or cannot be read. */
  async readProperty(key: string): Promise<TensorValue> {
    const { readProperty } = await this.#world.property({ readProperty: { key } });
    return unpackTensor(readProperty?.value ?? {});
  }

  /** Sets a property. @throws DmEnvRpcError if it does not exist or cannot be written. */
  async writeProperty(key: string, value: TensorValue): Promise<void> {
    await this.#world.property({ writeProperty: { key, value: packTensor(value) } });
  }

  /** The properties below a key; '' is the root. @throws DmEnvRpcError if the server refuses. */
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

  /** Leaves the world, destroys it if this client has created it, and disconnects. Never fails. */
  close(): Promise<void> {
    return this.#world.close();
  }
}
