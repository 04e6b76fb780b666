import { isDeepStrictEqual } from 'node:util';
import { PmpoError } from '../../core/errors.js';
import type {
  NamedSpecs,
  NamedTensorValues,
  TensorSpec,
  TensorValue,
} from '../../environments/environment.js';
import { shapeFits } from '../../environments/spec-checks.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { type ByUid, packPropertyRequest, unpackPropertyResponse } from '../codec/messages.js';
import { StepDecoder } from '../codec/step-decoder.js';
import { packSetting, packTensor, unpackSpec, unpackTensor } from '../codec/tensors.js';
import { DmEnvRpcError } from '../errors.js';
import { type ConnectionOptions, DmEnvRpcConnection } from './connection.js';

export type PlainSettings = Readonly<Record<string, string | number | boolean>>;

export interface RemoteWorldOptions extends ConnectionOptions {
  /** Sent with CreateWorld. */
  readonly createSettings?: PlainSettings;
  /** Sent with JoinWorld. */
  readonly joinSettings?: PlainSettings;
  /** Join this world, which is there already, instead of making one. */
  readonly worldName?: string;
}

const isNumeric = ({ dtype }: TensorSpec) => dtype !== 'string' && dtype !== 'proto';

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

/** Observations that steps ask for. */
export interface ObservationRequest {
  readonly uids: readonly wire.Int64[];
  readonly names: ReadonlyMap<string, string>;
  /** Where answers are read into; absent: each into arrays of its own. */
  readonly decoder: StepDecoder | undefined;
}

/** What a step leads to. */
export interface StepAnswer {
  readonly state: number | undefined;
  /** What was asked for, as far as it was sent. */
  readonly values: NamedTensorValues;
  /** True where the values are those of the request's decoder, which are as their specs say. */
  readonly isDirect: boolean;
}

/**
 * A world of a dm_env_rpc server that a stream of its own is in, its observations and actions by name. What its episodes are,
 * and how many simulators there are behind it, is for those who use it.
 */
export class RemoteWorld {
  /** The address and the world, for messages. */
  readonly where: string;
  readonly address: string;
  readonly name: string;
  readonly actionSpec: NamedSpecs;
  /** All that can be asked for. */
  readonly observationSpec: NamedSpecs;
  readonly #connection: DmEnvRpcConnection;
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
   * Connects, makes a world (or takes the server's only one, where it makes none) and joins it.
   * @throws ConnectionLostError when nobody answers, DmEnvRpcError when the server refuses, PmpoError for specs that
   *   cannot be used.
   */
  static async join(options: RemoteWorldOptions): Promise<RemoteWorld> {
    const connection = await DmEnvRpcConnection.open(options);
    try {
      const made =
        options.worldName === undefined ? await createWorld(connection, options.createSettings) : undefined;
      const worldName = options.worldName ?? made ?? '';
      const settings = settingsOf(options.joinSettings);
      const { specs } = await connection.send('joinWorld', { worldName, settings });
      return new RemoteWorld(connection, worldName, made !== undefined, specs ?? {});
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** True when nothing can be asked of it any more. */
  get isLost(): boolean {
    return this.#connection.isLost;
  }

  /**
   * The names of the observations that a policy is to see: those wanted, or all that hold numbers.
   * @param reserved are not among them.
   * @throws PmpoError for one that is wanted and not there, or when there is no reward.
   */
  choose(wanted: readonly string[] | undefined, reserved: (name: string) => boolean): string[] {
    const names = Object.keys(this.observationSpec);
    const others = names.filter((name) => !reserved(name));
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
      ? others.filter((name) => isNumeric(this.observationSpec[name]))
      : [...wanted];
  }

  /** Observations by name, which there must be, for steps to ask for. */
  request(names: readonly string[], { reuseArrays = false } = {}): ObservationRequest {
    const uids = names.map((name) => this.#observationUids.get(name)!);
    const specs = names.map((name, i) => [uids[i], this.observationSpec[name]] as const);
    return {
      // Numbers are encoded faster than digits.
      uids: uids.map((uid) => (Number.isSafeInteger(Number(uid)) ? Number(uid) : uid)),
      names: new Map(names.map((name, i) => [uids[i], name])),
      decoder: reuseArrays ? StepDecoder.of(specs) : undefined,
    };
  }

  /**
   * Steps with actions, which must be as their specs say. What is asked for is read at once, and everything is encoded
   * before this returns.
   * @throws PmpoError for an action that there is not; DmEnvRpcError when the server refuses, ConnectionLostError.
   */
  async step(
    actions: NamedTensorValues,
    { uids: requestedObservations, names, decoder }: ObservationRequest,
  ): Promise<StepAnswer> {
    const byUid: Record<string, wire.Tensor> = {};
    for (const [name, value] of Object.entries(actions)) {
      const uid = this.#actionUids.get(name);
      if (uid === undefined) throw new PmpoError({ where: this.where, what: `there is no action '${name}'` });
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

  /** Whether values are there and as their specs say. @throws PmpoError naming the first that is not. */
  check(values: NamedTensorValues, names: readonly string[]): void {
    for (const name of names) {
      const value = values[name];
      const spec = this.observationSpec[name];
      if (value?.dtype === spec.dtype && shapeFits(value.shape, spec.shape)) continue;
      const got = value === undefined ? 'is missing' : `is ${value.dtype} [${value.shape}]`;
      throw new PmpoError({
        where: this.where,
        what: `the observation '${name}' ${got}, its spec says ${spec.dtype} [${spec.shape}]`,
      });
    }
  }

  /** Sends Reset. @throws PmpoError when the specs are others afterwards. */
  async reset(settings: PlainSettings): Promise<void> {
    const { specs = {} } = await this.#connection.send('reset', { settings: settingsOf(settings) });
    const plain = (tree: wire.ActionObservationSpecs) => JSON.parse(JSON.stringify(tree));
    if (isDeepStrictEqual(plain(specs ?? {}), plain(this.#wireSpecs))) return;
    throw new PmpoError({
      where: this.where,
      what: 'the specs of observations or actions changed with a reset',
      remedy: 'A policy is made for one set of specs: start a new run for the new ones',
    });
  }

  /** Sends ResetWorld, which resets it for whoever is in it. */
  async resetWorld(settings: PlainSettings): Promise<void> {
    await this.#connection.send('resetWorld', { worldName: this.name, settings: settingsOf(settings) });
  }

  /** Sends a request of the properties extension. */
  async property(request: wire.PropertyRequest): Promise<wire.PropertyResponse> {
    return unpackPropertyResponse(await this.#connection.send('extension', packPropertyRequest(request)));
  }

  /** Leaves the world, destroys it if this made it, and disconnects. A connection that is lost already is no error. */
  async close(): Promise<void> {
    try {
      await this.#connection.send('leaveWorld', {});
      if (this.#owned) await this.#connection.send('destroyWorld', { worldName: this.name });
    } catch {
      // Whatever the server still holds goes with the stream.
    } finally {
      this.#connection.close();
    }
  }
}

/** A world of our own; undefined where the server makes none because it has one ready, named ''. */
async function createWorld(
  connection: DmEnvRpcConnection,
  settings?: PlainSettings,
): Promise<string | undefined> {
  try {
    const { worldName } = await connection.send('createWorld', { settings: settingsOf(settings) });
    return worldName ?? '';
  } catch (error) {
    const makesNone = error instanceof DmEnvRpcError && error.code === unimplemented;
    if (makesNone) return undefined;
    throw error;
  }
}

/** gRPC's UNIMPLEMENTED: what a server of a single ready world answers to CreateWorld. */
const unimplemented = 12;
