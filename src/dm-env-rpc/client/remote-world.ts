import { isDeepStrictEqual } from 'node:util';
import { PmpoError } from '../../core/errors.js';
import { foreignText, nameList, quotedName } from '../../core/foreign-text.js';
import { formatCount } from '../../core/format.js';
import { readScene } from '../../core/read-scene.js';
import type { Scene } from '../../core/scene.js';
import type { NamedSpecs, NamedTensorValues, TensorValue } from '../../environments/environment.js';
import { specDifference } from '../../environments/spec-difference.js';
import { isNumeric } from '../../environments/tensor-data.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { connectionDefaults } from '../../grpc/connection-defaults.js';
import { statusCode } from '../../grpc/status.js';
import {
  type EnvironmentState,
  isEnvironmentState,
  packPropertyRequest,
  unpackPropertyResponse,
} from '../codec/messages.js';
import { posesOf, type ScenePart, sceneKey, textOf } from '../codec/scene-properties.js';
import { type PlainSettings, packSettings, wholeSettings } from '../codec/settings.js';
import { StepDecoder } from '../codec/step-decoder.js';
import { packTensor, shapeText, unpackTensor, unpackTensorOf } from '../codec/tensors.js';
import { DmEnvRpcError } from '../errors.js';
import { type ConnectionOptions, DmEnvRpcConnection } from './connection.js';
import { connectSpread } from './spreading.js';
import { bytesOf, elementsOf, located, namedSpecs, specLimits } from './world-specs.js';

/** How to reach a server, and which of its worlds to join. */
export interface RemoteWorldOptions extends ConnectionOptions {
  /** The settings of CreateWorld. */
  readonly createSettings?: PlainSettings;
  /** The settings of JoinWorld. */
  readonly joinSettings?: PlainSettings;
  /** An existing world to join; by default, a new one is created. */
  readonly worldName?: string;
}

/** The observations that steps request; made by `RemoteWorld.request`. */
export interface ObservationRequest {
  readonly uids: readonly wire.Int64[];
  readonly names: ReadonlyMap<string, string>;
  /** Reads each response into the same arrays; if undefined, each response gets new ones. */
  readonly decoder: StepDecoder | undefined;
}

/** The response to a step. */
export interface StepResponse {
  readonly state: EnvironmentState;
  /** The requested observations, as far as the server has sent them. They fit their specs. */
  readonly values: NamedTensorValues;
  /** Whether the values are those of the request's decoder, and so complete. */
  readonly isDirect: boolean;
}

/**
 * A world of a dm_env_rpc server that a separate stream has joined, with observations and actions by name. RemoteEnvironment
 * and RemoteBatch build on it: it knows nothing of episodes, nor of the number of simulators in the world.
 */
export class RemoteWorld {
  /** The address and the world's name, for messages. */
  readonly where: string;
  readonly address: string;
  readonly name: string;
  readonly actionSpec: NamedSpecs;
  /** All observations that can be requested. */
  readonly observationSpec: NamedSpecs;
  readonly #connection: DmEnvRpcConnection;
  /** Whether this client has created the world, and so destroys it. */
  readonly #owned: boolean;
  readonly #wireSpecs: wire.ActionObservationSpecs;
  readonly #actionUids: ReadonlyMap<string, string>;
  readonly #observationUids: ReadonlyMap<string, string>;
  readonly #maxMessageMegabytes: number;

  private constructor(
    connection: DmEnvRpcConnection,
    name: string,
    owned: boolean,
    wireSpecs: wire.ActionObservationSpecs,
    { maxMessageMegabytes = connectionDefaults.maxMessageMegabytes }: RemoteWorldOptions,
  ) {
    this.address = connection.address;
    this.where = `${connection.address}, world ${quotedName(name)}`;
    const actions = namedSpecs('actions', wireSpecs.actions, this.where);
    const observations = namedSpecs('observations', wireSpecs.observations, this.where);
    const actionElements = Object.values(actions.specs).reduce((sum, spec) => sum + elementsOf(spec), 0);
    if (actionElements > specLimits.actionElements) {
      throw new PmpoError({
        where: this.where,
        what: `its actions have ${actionElements} elements, and may have ${specLimits.actionElements}`,
      });
    }
    this.#maxMessageMegabytes = maxMessageMegabytes;
    this.name = name;
    this.actionSpec = actions.specs;
    this.observationSpec = observations.specs;
    this.#connection = connection;
    this.#owned = owned;
    this.#wireSpecs = wireSpecs;
    this.#actionUids = actions.uids;
    this.#observationUids = observations.uids;
  }

  /**
   * Connects, creates a world (unless the server has only a ready-made one) and joins it.
   * @throws ConnectionLostError if no server answers, DmEnvRpcError if the server refuses, PmpoError for unusable specs.
   */
  static join(options: RemoteWorldOptions): Promise<RemoteWorld> {
    // An existing world is where it is.
    if (options.worldName !== undefined) return RemoteWorld.#join(options, false);
    return connectSpread((spread) => RemoteWorld.#join(options, spread));
  }

  static async #join(options: RemoteWorldOptions, spread: boolean): Promise<RemoteWorld> {
    const connection = await DmEnvRpcConnection.open({ ...options, spread });
    try {
      const created =
        options.worldName === undefined ? await createWorld(connection, options.createSettings) : undefined;
      const worldName = options.worldName ?? created ?? '';
      if (worldName.length > specLimits.worldName) {
        const what = `the server named the world with ${worldName.length} characters`;
        throw new PmpoError({ where: connection.address, what });
      }
      const settings = packSettings(options.joinSettings);
      const { specs } = await withTypes('JoinWorld', options.joinSettings, () =>
        connection.send('joinWorld', { worldName, settings }),
      );
      return new RemoteWorld(connection, worldName, created !== undefined, specs ?? {}, options);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Whether the connection is lost. */
  get isLost(): boolean {
    return this.#connection.isLost;
  }

  /** Waits until the stream is known to be in step. @throws OutOfStepError if it is not. */
  requireInStep(): Promise<void> {
    return this.#connection.requireInStep();
  }

  /**
   * The names of a policy's observations: those that the user wants, or all that hold numbers.
   * @param isReserved whether a name is not an observation of the simulator
   * @throws PmpoError for a wanted observation that does not exist, and for a world without a reward or without numbers to observe.
   */
  choose(wanted: readonly string[] | undefined, isReserved: (name: string) => boolean): string[] {
    const names = Object.keys(this.observationSpec);
    const others = names.filter((name) => !isReserved(name));
    if (!names.includes('reward')) {
      throw new PmpoError({
        where: this.address,
        what: `the world ${quotedName(this.name)} has no observation named reward`,
        remedy: `It offers ${nameList(names)}; a learner needs the reserved observation 'reward'`,
      });
    }
    for (const name of wanted ?? []) {
      if (others.includes(name)) continue;
      throw new PmpoError({
        where: this.address,
        what: `the world ${quotedName(this.name)} has no observation ${quotedName(name)}`,
        remedy: `It has ${nameList(others)}`,
      });
    }
    if (wanted !== undefined) return [...wanted];
    const numeric = others.filter((name) => isNumeric(this.observationSpec[name].dtype));
    if (numeric.length > 0 || others.length === 0) return numeric;
    throw new PmpoError({
      where: this.address,
      what: `the world ${quotedName(this.name)} has no observation that holds numbers, which a policy needs`,
      remedy: `It has ${nameList(others.map((name) => `${name} (${this.observationSpec[name].dtype})`))}`,
    });
  }

  /**
   * A request for existing observations, by name.
   * @throws PmpoError if they are larger than a message may be: nothing of that size is kept in memory.
   */
  request(names: readonly string[], { reuseArrays = false } = {}): ObservationRequest {
    const bytes = names.map((name) => bytesOf(this.observationSpec[name]));
    const megabytes = bytes.reduce((sum, size) => sum + size, 0) / 2 ** 20;
    if (megabytes > this.#maxMessageMegabytes) {
      const largest = this.observationSpec[names[bytes.indexOf(Math.max(...bytes))]];
      throw new PmpoError({
        where: this.where,
        what: `the observations of a step take ${formatCount(megabytes)} MB, more than a message may: ${quotedName(largest.name)} has the shape ${shapeText(largest.shape)}`,
        remedy: 'Ask for less with environment.observations, or raise environment.maxMessageMegabytes',
      });
    }
    const uids = names.map((name) => this.#observationUids.get(name)!);
    const specs = names.map((name, i) => [uids[i], this.observationSpec[name]] as const);
    return {
      // protobufjs encodes numbers faster than strings of digits.
      uids: uids.map((uid) => (Number.isSafeInteger(Number(uid)) ? Number(uid) : uid)),
      names: new Map(names.map((name, i) => [uids[i], name])),
      decoder: reuseArrays ? StepDecoder.of(specs) : undefined,
    };
  }

  /**
   * Steps with actions, which must fit their specs. The actions are encoded before this function returns its promise, so that
   * the caller may change their arrays.
   * @throws PmpoError for an unknown action, DmEnvRpcError if the server refuses, ConnectionLostError.
   */
  async step(
    actions: NamedTensorValues,
    { uids: requestedObservations, names, decoder }: ObservationRequest,
  ): Promise<StepResponse> {
    const byUid: Record<string, wire.Tensor> = {};
    for (const [name, value] of Object.entries(actions)) {
      const uid = this.#actionUids.get(name);
      if (uid === undefined) throw new PmpoError({ where: this.where, what: `unknown action '${name}'` });
      byUid[uid] = packTensor(value);
    }
    const answer = await this.#connection.step({ actions: byUid, requestedObservations }, (bytes) =>
      decoder?.decode(bytes),
    );
    if (typeof answer === 'number') {
      return { state: this.#stateOf(answer), values: decoder!.values, isDirect: true };
    }
    const { state, observations = {} } = answer;
    const values: Record<string, TensorValue> = {};
    for (const [uid, message] of Object.entries(observations)) {
      const name = names.get(uid);
      if (name === undefined) continue;
      const spec = this.observationSpec[name];
      values[name] = located(this.where, () => unpackTensorOf('observation', spec, message));
    }
    return { state: this.#stateOf(state), values, isDirect: false };
  }

  /** A state of dm_env_rpc. @throws PmpoError for any other number. */
  #stateOf(state = 0): EnvironmentState {
    if (isEnvironmentState(state)) return state;
    throw new PmpoError({
      where: this.where,
      what: `the state of a step is ${state}, which dm_env_rpc does not have`,
      remedy: 'Have the server send RUNNING (1), TERMINATED (2) or INTERRUPTED (3)',
    });
  }

  /** @throws PmpoError naming the first observation that the server has not sent. */
  requireAll(values: NamedTensorValues, names: readonly string[]): void {
    const missing = names.find((name) => !Object.hasOwn(values, name));
    if (missing === undefined) return;
    const { dtype, shape } = this.observationSpec[missing];
    throw new PmpoError({
      where: this.where,
      what: `the observation ${quotedName(missing)} is missing in a step; its spec is ${dtype} ${shapeText(shape)}`,
    });
  }

  /** Sends Reset. @throws PmpoError if the reset changes the specs. */
  async reset(settings: PlainSettings): Promise<void> {
    const { specs = {} } = await this.#connection.send('reset', { settings: packSettings(settings) });
    const plain = (tree: wire.ActionObservationSpecs) => JSON.parse(JSON.stringify(tree));
    if (isDeepStrictEqual(plain(specs ?? {}), plain(this.#wireSpecs))) return;
    const difference = specDifference(
      {
        actionSpec: namedSpecs('actions', specs?.actions, this.where).specs,
        observationSpec: namedSpecs('observations', specs?.observations, this.where).specs,
      },
      this,
    );
    throw new PmpoError({
      where: this.where,
      what: `a reset changed the specs of observations or actions: now ${difference ?? 'some have other identifiers'}`,
      remedy: 'A policy is made for one set of specs: start a new run for the new ones',
    });
  }

  /** Sends ResetWorld, which also resets the world for another connection that uses it. */
  async resetWorld(settings: PlainSettings): Promise<void> {
    await this.#connection.send('resetWorld', { worldName: this.name, settings: packSettings(settings) });
  }

  /** Sends a request of the properties extension. */
  async property(request: wire.PropertyRequest): Promise<wire.PropertyResponse> {
    return unpackPropertyResponse(await this.#connection.send('extension', packPropertyRequest(request)));
  }

  /** What simulator `simulator` looks like; undefined if the server or the simulator does not tell. @throws PmpoError if it is malformed. */
  async scene(simulator: number): Promise<Scene | undefined> {
    if (!this.#connection.offersScenes) return undefined;
    try {
      return readScene(this.where, textOf(this.where, await this.#sceneProperty('scene', simulator)));
    } catch (error) {
      if (error instanceof DmEnvRpcError && error.code === statusCode('NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** The poses of the bodies of simulator `simulator` after the requests made so far, [B, 7]. @throws PmpoError if it has no scene. */
  async poses(simulator: number): Promise<Float32Array> {
    return posesOf(this.where, await this.#sceneProperty('poses', simulator));
  }

  async #sceneProperty(part: ScenePart, simulator: number): Promise<TensorValue> {
    const { readProperty } = await this.property({ readProperty: { key: sceneKey(part, simulator) } });
    return unpackTensor(readProperty?.value ?? {});
  }

  /** Leaves the world, destroys it if this client has created it, and disconnects. Never fails. */
  async close(): Promise<void> {
    try {
      await this.#connection.send('leaveWorld', {});
      if (this.#owned) await this.#connection.send('destroyWorld', { worldName: this.name });
    } catch {
      // When the stream ends, the server frees what it still holds for it.
    } finally {
      this.#connection.close();
    }
  }
}

/** Does `request`, and says how to give types if the server refuses the settings because of theirs. */
async function withTypes<T>(
  call: string,
  settings: PlainSettings | undefined,
  request: () => Promise<T>,
): Promise<T> {
  try {
    return await request();
  } catch (error) {
    const [whole] = wholeSettings(settings);
    if (!(error instanceof DmEnvRpcError) || whole === undefined) throw error;
    if (!/\b(types?|doubles?|floats?|u?int\d*s?|payload)\b/i.test(error.serverMessage)) throw error;
    const remedy = `Whole numbers are sent as integers; for another type, write ${foreignText(whole, 80)}: {double: ${settings![whole]}}`;
    throw new DmEnvRpcError(error.details.where ?? '', call, error.code, error.serverMessage, remedy);
  }
}

/** Creates a world and returns its name, or undefined if the server cannot: it then has a ready-made one, named ''. */
async function createWorld(
  connection: DmEnvRpcConnection,
  settings?: PlainSettings,
): Promise<string | undefined> {
  try {
    const { worldName } = await withTypes('CreateWorld', settings, () =>
      connection.send('createWorld', { settings: packSettings(settings) }),
    );
    return worldName ?? '';
  } catch (error) {
    if (error instanceof DmEnvRpcError && error.code === statusCode('UNIMPLEMENTED')) return undefined;
    throw error;
  }
}
