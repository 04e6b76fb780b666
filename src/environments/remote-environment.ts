import { isDeepStrictEqual } from 'node:util';
import { PmpoError } from '../errors.js';
import { checkValue } from './actions.js';
import { type ConnectionOptions, DmEnvRpcConnection } from './connection.js';
import type {
  Environment,
  NamedSpecs,
  NamedTensorValues,
  Reset,
  Step,
  TensorSpec,
  TensorValue,
} from './environment.js';
import { DmEnvRpcError } from './errors.js';
import { StepDecoder } from './step-decoder.js';
import { packSetting, packTensor, unpackSpec, unpackTensor } from './tensor-codec.js';
import {
  type ByUid,
  environmentStates,
  packPropertyRequest,
  unpackPropertyResponse,
  type Wide,
  type WirePropertyRequest,
  type WirePropertyResponse,
  type WireSpec,
  type WireSpecs,
  type WireTensor,
} from './wire.js';

export type PlainSettings = Readonly<Record<string, string | number | boolean>>;

export interface RemoteEnvironmentOptions extends ConnectionOptions {
  /** Sent with CreateWorld. */
  readonly createSettings?: PlainSettings;
  /** Sent with JoinWorld. */
  readonly joinSettings?: PlainSettings;
  /** Join this world, which is there already, instead of making one. */
  readonly worldName?: string;
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

const isNumeric = ({ dtype }: TensorSpec) => dtype !== 'string' && dtype !== 'proto';

const settingsOf = (plain: PlainSettings = {}): Record<string, WireTensor> =>
  Object.fromEntries(Object.entries(plain).map(([key, value]) => [key, packSetting(value)]));

/** Specs by name, and the uid of each name. */
function named(
  specs: ByUid<WireSpec> | undefined,
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

/** A world of a dm_env_rpc server as an Environment, over a stream of its own. */
export class RemoteEnvironment implements Environment {
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  readonly worldName: string;
  readonly #connection: DmEnvRpcConnection;
  readonly #owned: boolean;
  readonly #wireSpecs: WireSpecs;
  readonly #actionUids: Map<string, string>;
  readonly #requestedUids: readonly Wide[];
  readonly #names: ReadonlyMap<string, string>;
  readonly #decoder: StepDecoder | undefined;
  #phase: 'fresh' | 'running' | 'ended' = 'fresh';

  private constructor(
    connection: DmEnvRpcConnection,
    worldName: string,
    owned: boolean,
    wireSpecs: WireSpecs,
    { observations: wanted, reuseArrays = false }: RemoteEnvironmentOptions,
  ) {
    const where = connection.address;
    const actions = named(wireSpecs.actions, where);
    const observations = named(wireSpecs.observations, where);
    const { reward, discount: _, ...others } = observations.specs;
    if (reward === undefined) {
      throw new PmpoError({
        where,
        what: `the world '${worldName}' has no observation named reward`,
        remedy: `It offers ${Object.keys(observations.specs).join(', ') || 'none'}; a learner needs the reserved observation 'reward'`,
      });
    }
    for (const name of wanted ?? []) {
      if (others[name] !== undefined) continue;
      throw new PmpoError({
        where,
        what: `the world '${worldName}' has no observation '${name}'`,
        remedy: `It has ${Object.keys(others).join(', ')}`,
      });
    }
    this.#connection = connection;
    this.worldName = worldName;
    this.#owned = owned;
    this.#wireSpecs = wireSpecs;
    this.actionSpec = actions.specs;
    this.#actionUids = actions.uids;
    this.observationSpec = Object.fromEntries(
      (wanted ?? Object.keys(others).filter((name) => isNumeric(others[name]))).map((name) => [
        name,
        others[name],
      ]),
    );
    // The discount is not: a step's state says all that it could.
    const asked = { reward, ...this.observationSpec };
    const requested = Object.entries(asked).map(
      ([name, spec]) => [observations.uids.get(name)!, spec] as const,
    );
    // Numbers are encoded faster than digits.
    this.#requestedUids = requested.map(([uid]) => (Number.isSafeInteger(Number(uid)) ? Number(uid) : uid));
    this.#names = new Map(requested.map(([uid, { name }]) => [uid, name]));
    this.#decoder = reuseArrays ? StepDecoder.of(requested) : undefined;
  }

  /**
   * Connects, makes a world (or takes the server's only one, where it makes none) and joins it.
   * @throws ConnectionLostError when nobody answers, DmEnvRpcError when the server refuses, PmpoError for specs that
   *   cannot be used.
   */
  static async connect(options: RemoteEnvironmentOptions): Promise<RemoteEnvironment> {
    const connection = await DmEnvRpcConnection.open(options);
    try {
      const made =
        options.worldName === undefined ? await createWorld(connection, options.createSettings) : undefined;
      const worldName = options.worldName ?? made ?? '';
      const { specs } = await connection.send('joinWorld', {
        worldName,
        settings: settingsOf(options.joinSettings),
      });
      return new RemoteEnvironment(connection, worldName, made !== undefined, specs ?? {}, options);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async reset({ seed }: { readonly seed?: number } = {}): Promise<Reset> {
    if (this.#phase !== 'ended' || seed !== undefined) await this.#askReset(seed);
    this.#phase = 'running';
    const { observation } = await this.#exchange({});
    return { observation, info: {} };
  }

  /** Asks for a new episode. A server that takes no seed is asked again without one: its episodes are its own. */
  async #askReset(seed: number | undefined): Promise<void> {
    const send = (settings: PlainSettings) =>
      this.#connection.send('reset', { settings: settingsOf(settings) });
    let answer: Awaited<ReturnType<typeof send>>;
    try {
      answer = await send(seed === undefined ? {} : { seed });
    } catch (error) {
      if (seed === undefined || !(error instanceof DmEnvRpcError)) throw error;
      answer = await send({});
    }
    this.#checkSpecs(answer.specs ?? {});
  }

  #checkSpecs(specs: WireSpecs): void {
    const plain = (tree: WireSpecs) => JSON.parse(JSON.stringify(tree));
    if (isDeepStrictEqual(plain(specs), plain(this.#wireSpecs))) return;
    throw new PmpoError({
      where: `${this.#connection.address}, world '${this.worldName}'`,
      what: 'the specs of observations or actions changed with a reset',
      remedy: 'A policy is made for one set of specs: start a new run for the new ones',
    });
  }

  async step(action: NamedTensorValues): Promise<Step> {
    const where = `${this.#connection.address}, world '${this.worldName}'`;
    if (this.#phase !== 'running') {
      const what =
        this.#phase === 'fresh' ? 'a step before the first reset' : "a step after the episode's end";
      throw new PmpoError({ where, what, remedy: 'Call reset first' });
    }
    const actions: Record<string, WireTensor> = {};
    for (const [name, value] of Object.entries(action)) {
      const uid = this.#actionUids.get(name);
      if (uid === undefined) throw new PmpoError({ where, what: `there is no action '${name}'` });
      checkValue('action', this.actionSpec[name], value);
      actions[uid] = packTensor(value);
    }
    const { observation, reward, state } = await this.#exchange(actions);
    if (reward === undefined) throw new PmpoError({ where, what: 'a step brought no reward' });
    const terminated = state === environmentStates.terminated;
    const truncated = state === environmentStates.interrupted;
    if (terminated || truncated) this.#phase = 'ended';
    return { observation, reward, terminated, truncated, info: {} };
  }

  async #exchange(
    actions: ByUid<WireTensor>,
  ): Promise<{ state: number | undefined; observation: NamedTensorValues; reward: number | undefined }> {
    const request = { actions, requestedObservations: this.#requestedUids };
    const answer = await this.#connection.step(request, (bytes) => this.#decoder?.decode(bytes));
    if (typeof answer === 'number') {
      // The decoder's values have one name more, which nobody looks at.
      const observation = this.#decoder!.values;
      return { state: answer, observation, reward: Number(observation.reward.data[0]) };
    }
    const { state, observations = {} } = answer;
    const values: Record<string, TensorValue> = {};
    for (const [uid, message] of Object.entries(observations)) {
      const name = this.#names.get(uid);
      if (name !== undefined) values[name] = unpackTensor(message);
    }
    const { reward, ...observation } = values;
    for (const name of Object.keys(this.observationSpec)) {
      const value = observation[name];
      const spec = this.observationSpec[name];
      const fits = value?.dtype === spec.dtype && value.shape.length === spec.shape.length;
      if (fits && value.shape.every((n, i) => spec.shape[i] < 0 || n === spec.shape[i])) continue;
      const got = value === undefined ? 'is missing' : `is ${value.dtype} [${value.shape}]`;
      throw new PmpoError({
        where: `${this.#connection.address}, world '${this.worldName}'`,
        what: `the observation '${name}' ${got}, its spec says ${spec.dtype} [${spec.shape}]`,
      });
    }
    return { state, observation, reward: reward && Number(reward.data[0]) };
  }

  /** Resets the world, for whoever is in it. */
  async resetWorld(settings: PlainSettings = {}): Promise<void> {
    await this.#connection.send('resetWorld', { worldName: this.worldName, settings: settingsOf(settings) });
    this.#phase = 'fresh';
  }

  async #property(request: WirePropertyRequest): Promise<WirePropertyResponse> {
    return unpackPropertyResponse(await this.#connection.send('extension', packPropertyRequest(request)));
  }

  /** The value of a property. @throws DmEnvRpcError when there is none or it cannot be read. */
  async readProperty(key: string): Promise<TensorValue> {
    const { readProperty } = await this.#property({ readProperty: { key } });
    return unpackTensor(readProperty?.value ?? {});
  }

  /** Sets a property. @throws DmEnvRpcError when there is none or it cannot be written. */
  async writeProperty(key: string, value: TensorValue): Promise<void> {
    await this.#property({ writeProperty: { key, value: packTensor(value) } });
  }

  /** The properties under a key; '' is the root. */
  async listProperties(key = ''): Promise<Property[]> {
    const { listProperty } = await this.#property({ listProperty: { key } });
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
  async close(): Promise<void> {
    try {
      await this.#connection.send('leaveWorld', {});
      if (this.#owned) await this.#connection.send('destroyWorld', { worldName: this.worldName });
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
