import { isDeepStrictEqual } from 'node:util';
import { PmpoError } from '../../core/errors.js';
import type {
  NamedSpecs,
  NamedTensorValues,
  TensorSpec,
  TensorValue,
} from '../../environments/environment.js';
import { shapeFits } from '../../environments/spec-checks.js';
import { isNumeric } from '../../environments/tensor-data.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { statusCode } from '../../grpc/status.js';
import { type ByUid, packPropertyRequest, unpackPropertyResponse } from '../codec/messages.js';
import { StepDecoder } from '../codec/step-decoder.js';
import { packSetting, packTensor, unpackSpec, unpackTensor } from '../codec/tensors.js';
import { DmEnvRpcError } from '../errors.js';
import { type ConnectionOptions, DmEnvRpcConnection } from './connection.js';

/** Settings as plain values, by name. */
export type PlainSettings = Readonly<Record<string, string | number | boolean>>;

/** How to reach a server, and which of its worlds to join. */
export interface RemoteWorldOptions extends ConnectionOptions {
  /** The settings of CreateWorld. */
  readonly createSettings?: PlainSettings;
  /** The settings of JoinWorld. */
  readonly joinSettings?: PlainSettings;
  /** An existing world to join; by default, a new one is created. */
  readonly worldName?: string;
}

const settingsOf = (plain: PlainSettings = {}): Record<string, wire.Tensor> =>
  Object.fromEntries(Object.entries(plain).map(([key, value]) => [key, packSetting(value)]));

/** Specs by name, and the uid of each name. */
function named(
  specs: ByUid<wire.TensorSpec> | undefined,
  where: string,
): { specs: NamedSpecs; uids: Map<string, string> } {
  const uids = new Map<string, string>();
  const byName: Record<string, TensorSpec> = {};
  for (const [uid, message] of Object.entries(specs ?? {})) {
    const spec = unpackSpec(message);
    if (uids.has(spec.name)) throw new PmpoError({ where, what: `two specs are named '${spec.name}'` });
    uids.set(spec.name, uid);
    byName[spec.name] = spec;
  }
  return { specs: byName, uids };
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
  readonly state: number | undefined;
  /** The requested observations, as far as the server has sent them. */
  readonly values: NamedTensorValues;
  /** Whether the values are those of the request's decoder, which fit their specs. */
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

  private constructor(
    connection: DmEnvRpcConnection,
    name: string,
    owned: boolean,
    wireSpecs: wire.ActionObservationSpecs,
  ) {
    const actions = named(wireSpecs.actions, connection.address);
    const observations = named(wireSpecs.observations, connection.address);
    this.address = connection.address;
    this.where = `${connection.address}, world '${name}'`;
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
  static async join(options: RemoteWorldOptions): Promise<RemoteWorld> {
    const connection = await DmEnvRpcConnection.open(options);
    try {
      const created =
        options.worldName === undefined ? await createWorld(connection, options.createSettings) : undefined;
      const worldName = options.worldName ?? created ?? '';
      const settings = settingsOf(options.joinSettings);
      const { specs } = await connection.send('joinWorld', { worldName, settings });
      return new RemoteWorld(connection, worldName, created !== undefined, specs ?? {});
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Whether the connection is lost. */
  get isLost(): boolean {
    return this.#connection.isLost;
  }

  /**
   * The names of a policy's observations: those that the user wants, or all that hold numbers.
   * @param isReserved whether a name is not an observation of the simulator
   * @throws PmpoError for a wanted observation that does not exist, and for a world without a reward.
   */
  choose(wanted: readonly string[] | undefined, isReserved: (name: string) => boolean): string[] {
    const names = Object.keys(this.observationSpec);
    const others = names.filter((name) => !isReserved(name));
    if (!names.includes('reward')) {
      throw new PmpoError({
        where: this.address,
        what: `the world '${this.name}' has no observation named reward`,
        remedy: `It offers ${names.join(', ') || 'none'}; a learner needs the reserved observation 'reward'`,
      });
    }
    for (const name of wanted ?? []) {
      if (others.includes(name)) continue;
      throw new PmpoError({
        where: this.address,
        what: `the world '${this.name}' has no observation '${name}'`,
        remedy: `It has ${others.join(', ')}`,
      });
    }
    return wanted === undefined
      ? others.filter((name) => isNumeric(this.observationSpec[name].dtype))
      : [...wanted];
  }

  /** A request for existing observations, by name. */
  request(names: readonly string[], { reuseArrays = false } = {}): ObservationRequest {
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
    if (typeof answer === 'number') return { state: answer, values: decoder!.values, isDirect: true };
    const { state, observations = {} } = answer;
    const values: Record<string, TensorValue> = {};
    for (const [uid, message] of Object.entries(observations)) {
      const name = names.get(uid);
      if (name !== undefined) values[name] = unpackTensor(message);
    }
    return { state, values, isDirect: false };
  }

  /** Checks observations against their specs. @throws PmpoError naming the first that is missing or does not fit. */
  check(values: NamedTensorValues, names: readonly string[]): void {
    for (const name of names) {
      const value = values[name];
      const spec = this.observationSpec[name];
      if (value?.dtype === spec.dtype && shapeFits(value.shape, spec.shape)) continue;
      const got = value === undefined ? 'is missing' : `is ${value.dtype} [${value.shape}]`;
      throw new PmpoError({
        where: this.where,
        what: `the observation '${name}' ${got}, but its spec is ${spec.dtype} [${spec.shape}]`,
      });
    }
  }

  /** Sends Reset. @throws PmpoError if the reset changes the specs. */
  async reset(settings: PlainSettings): Promise<void> {
    const { specs = {} } = await this.#connection.send('reset', { settings: settingsOf(settings) });
    const plain = (tree: wire.ActionObservationSpecs) => JSON.parse(JSON.stringify(tree));
    if (isDeepStrictEqual(plain(specs ?? {}), plain(this.#wireSpecs))) return;
    throw new PmpoError({
      where: this.where,
      what: 'a reset changed the specs of observations or actions',
      remedy: 'A policy is made for one set of specs: start a new run for the new ones',
    });
  }

  /** Sends ResetWorld, which also resets the world for another connection that uses it. */
  async resetWorld(settings: PlainSettings): Promise<void> {
    await this.#connection.send('resetWorld', { worldName: this.name, settings: settingsOf(settings) });
  }

  /** Sends a request of the properties extension. */
  async property(request: wire.PropertyRequest): Promise<wire.PropertyResponse> {
    return unpackPropertyResponse(await this.#connection.send('extension', packPropertyRequest(request)));
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

/** Creates a world and returns its name, or undefined if the server cannot: it then has a ready-made one, named ''. */
async function createWorld(
  connection: DmEnvRpcConnection,
  settings?: PlainSettings,
): Promise<string | undefined> {
  try {
    const { worldName } = await connection.send('createWorld', { settings: settingsOf(settings) });
    return worldName ?? '';
  } catch (error) {
    if (error instanceof DmEnvRpcError && error.code === statusCode('UNIMPLEMENTED')) return undefined;
    throw error;
  }
}
