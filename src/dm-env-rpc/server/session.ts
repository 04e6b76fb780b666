import { randomBytes } from 'node:crypto';
import { foreignText, quotedName } from '../../core/foreign-text.js';
import { poseSize } from '../../core/scene.js';
import type { Environment, TensorValue } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { statusCode } from '../../grpc/status.js';
import {
  digitsOf,
  packPropertyResponse,
  propertyRequestUrl,
  type Settings,
  unpackPropertyRequest,
} from '../codec/messages.js';
import { partOfKey } from '../codec/scene-properties.js';
import { packTensor, type Setting, tensorLimits, unpackSetting } from '../codec/tensors.js';
import { batchSizeOf, HostedBatch } from './hosted-batch.js';
import {
  checkCount,
  HostedEnvironment,
  type HostedWorld,
  messageOf,
  RequestError,
  statusOf,
} from './hosted-environment.js';

/** The most settings of one request. */
const maxSettings = 256;

/** The most simulators in the worlds that one stream has created and that still exist. */
export const maxSimulatorsOfStream = 1024;

type CreateEnvironment = (settings: Readonly<Record<string, Setting>>) => Promise<Environment>;

/** The server's side of one stream: the world it has joined, and the response to each request. */
export class Session {
  readonly #worlds: Map<string, HostedWorld>;
  readonly #createEnvironment: CreateEnvironment;
  readonly #log: (line: string) => void;
  #joined: HostedWorld | undefined;

  constructor(
    worlds: Map<string, HostedWorld>,
    createEnvironment: CreateEnvironment,
    log: (line: string) => void,
  ) {
    this.#worlds = worlds;
    this.#createEnvironment = createEnvironment;
    this.#log = log;
  }

  /** The response to a request. If the request fails, the response holds the error, and the stream stays open. */
  async answer(request: wire.EnvironmentRequest): Promise<wire.EnvironmentResponse> {
    try {
      return await this.#handle(request);
    } catch (error) {
      return { error: { code: statusCode(statusOf(error)), message: messageOf(error) } };
    }
  }

  /** Leaves the world, and closes the worlds that this stream created and no stream is in. */
  async end(): Promise<void> {
    this.#leave();
    for (const world of [...this.#worlds.values()]) {
      if (world.creator === this && world.occupant === undefined) await this.#close(world);
    }
  }

  async #handle(request: wire.EnvironmentRequest): Promise<wire.EnvironmentResponse> {
    if (request.step) return { step: await this.#step(request.step) };
    if (request.createWorld)
      return { createWorld: { worldName: await this.#create(request.createWorld.settings) } };
    if (request.joinWorld) {
      const world = this.#join(request.joinWorld.worldName ?? '', request.joinWorld.settings);
      return { joinWorld: { specs: world.specs } };
    }
    if (request.reset) {
      const world = this.#current('reset');
      world.reset(seedOf(request.reset.settings));
      return { reset: { specs: world.specs } };
    }
    if (request.resetWorld) {
      const world = this.#find(request.resetWorld.worldName ?? '');
      const seed = seedOf(request.resetWorld.settings);
      // A stream that resets its own world knows that the episode is over; another one is interrupted.
      if (world.occupant === this) world.reset(seed);
      else world.interrupt(seed);
      return { resetWorld: {} };
    }
    if (request.leaveWorld) {
      this.#leave();
      return { leaveWorld: {} };
    }
    if (request.destroyWorld) {
      await this.#destroy(request.destroyWorld.worldName ?? '');
      return { destroyWorld: {} };
    }
    if (request.extension) return { extension: await this.#extension(request.extension) };
    throw new RequestError('INVALID_ARGUMENT', 'the request has no payload');
  }

  #find(name: string): HostedWorld {
    const world = this.#worlds.get(name);
    if (world === undefined) throw new RequestError('NOT_FOUND', `unknown world ${quotedName(name)}`);
    return world;
  }

  #current(doing: string): HostedWorld {
    if (this.#joined === undefined) {
      throw new RequestError('FAILED_PRECONDITION', `cannot ${doing}: this stream has not joined a world`);
    }
    return this.#joined;
  }

  async #create(settings: Settings = {}): Promise<string> {
    const plain = plainSettings(settings);
    const { batchSize, ...own } = plain;
    const size = batchSize === undefined ? 1 : batchSizeOf(batchSize);
    this.#checkRoom(size);
    const environments = await this.#makeEnvironments(size, own);
    // A client that knows a world's name can join or destroy it, so names cannot be guessed.
    const name = `world-${randomBytes(8).toString('hex')}`;
    let world: HostedWorld;
    try {
      world =
        batchSize === undefined
          ? new HostedEnvironment(name, this, environments[0])
          : new HostedBatch(name, this, environments);
    } catch (error) {
      await closeAll(environments);
      throw error;
    }
    this.#worlds.set(world.name, world);
    this.#log(`${world.name} made (${foreignText(JSON.stringify(plain))}), ${this.#worlds.size} in all`);
    return world.name;
  }

  /** @throws RequestError if this stream has too many simulators. */
  #checkRoom(asked: number): void {
    const own = [...this.#worlds.values()].filter(({ creator }) => creator === this);
    const existing = own.reduce((sum, { environments }) => sum + environments.length, 0);
    if (existing + asked <= maxSimulatorsOfStream) return;
    throw new RequestError(
      'RESOURCE_EXHAUSTED',
      `this stream's worlds have ${existing} simulators; ${asked} more would exceed the limit of ${maxSimulatorsOfStream} for each stream. Destroy some, or use another stream`,
    );
  }

  /** Makes environments with the same settings, except that the seed counts up. If one fails, closes the others. */
  async #makeEnvironments(
    size: number,
    settings: Readonly<Record<string, Setting>>,
  ): Promise<readonly Environment[]> {
    const { seed } = settings;
    const environments: Environment[] = [];
    try {
      for (let i = 0; i < size; i++) {
        const own = typeof seed === 'number' ? { ...settings, seed: seed + i } : settings;
        environments.push(await this.#createEnvironment(own));
      }
      return environments;
    } catch (error) {
      await closeAll(environments);
      throw error;
    }
  }

  #join(name: string, settings: Settings | undefined): HostedWorld {
    if (this.#joined !== undefined) {
      throw new RequestError(
        'FAILED_PRECONDITION',
        `this stream has already joined the world '${this.#joined.name}'; leave it first`,
      );
    }
    const world = this.#find(name);
    if (world.occupant !== undefined) {
      throw new RequestError(
        'FAILED_PRECONDITION',
        `the world '${name}' is in use by another connection; it takes one agent`,
      );
    }
    world.reset(seedOf(settings));
    world.occupant = this;
    this.#joined = world;
    return world;
  }

  #leave(): void {
    if (this.#joined !== undefined) this.#joined.occupant = undefined;
    this.#joined = undefined;
  }

  async #destroy(name: string): Promise<void> {
    const world = this.#find(name);
    if (world.occupant !== undefined) {
      throw new RequestError('FAILED_PRECONDITION', `the world '${name}' is in use; it cannot be destroyed`);
    }
    await this.#close(world);
  }

  async #close(world: HostedWorld): Promise<void> {
    // Removed first, so that no stream can join a world that is being closed.
    this.#worlds.delete(world.name);
    await world.close();
    this.#log(`${world.name} closed, ${this.#worlds.size} left`);
  }

  async #step({ actions = {}, requestedObservations = [] }: NonNullable<wire.EnvironmentRequest['step']>) {
    const world = this.#current('step');
    checkCount('actions', Object.keys(actions).length, Object.keys(world.specs.actions ?? {}).length);
    checkCount(
      'observations',
      requestedObservations.length,
      Object.keys(world.specs.observations ?? {}).length,
    );
    return world.step(actions, requestedObservations.map(digitsOf));
  }

  async #extension(packed: wire.Any): Promise<wire.Any> {
    if (packed.type_url !== propertyRequestUrl) {
      throw new RequestError('UNIMPLEMENTED', `unknown extension ${quotedName(packed.type_url ?? '')}`);
    }
    const request = unpackPropertyRequest(packed);
    // Environments here have no properties of their own, and those of scenes are known by name only.
    if (request.listProperty) return packPropertyResponse({ listProperty: { values: [] } });
    const key = request.readProperty?.key ?? request.writeProperty?.key ?? '';
    const value = request.readProperty ? await this.#sceneProperty(key) : undefined;
    if (value === undefined) throw new RequestError('NOT_FOUND', `unknown property ${quotedName(key)}`);
    return packPropertyResponse({ readProperty: { value: packTensor(value) } });
  }

  /** A property of the scene of a simulator; undefined for other keys, and for a simulator that has none. */
  async #sceneProperty(key: string): Promise<TensorValue | undefined> {
    const asked = partOfKey(key);
    if (asked === undefined) return undefined;
    const environment = this.#current('read a scene').environments[asked.simulator];
    if (asked.part === 'poses') {
      const data = await environment?.poses?.();
      return data && { dtype: 'float32', shape: [data.length / poseSize, poseSize], data };
    }
    const scene = await environment?.scene?.();
    return scene && { dtype: 'string', shape: [], data: [JSON.stringify(scene)] };
  }
}

/** The settings as plain values. @throws RequestError if there are too many or a name is too long; PmpoError for a broken value. */
function plainSettings(settings: Settings): Readonly<Record<string, Setting>> {
  const entries = Object.entries(settings);
  if (entries.length > maxSettings) {
    const what = `the request has ${entries.length} settings; the most are ${maxSettings}`;
    throw new RequestError('INVALID_ARGUMENT', what);
  }
  const long = entries.find(([key]) => key.length > tensorLimits.nameLength);
  if (long !== undefined) {
    const what = `the name of the setting ${quotedName(long[0])} is too long; the most are ${tensorLimits.nameLength} characters`;
    throw new RequestError('INVALID_ARGUMENT', what);
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, unpackSetting(value)]));
}

/** The seed in the settings of a reset or join. @throws RequestError for any other setting, which would have no effect. */
function seedOf(settings: Settings | undefined): number | undefined {
  let seed: number | undefined;
  for (const [key, plain] of Object.entries(plainSettings(settings ?? {}))) {
    if (key !== 'seed')
      throw new RequestError('INVALID_ARGUMENT', `unknown setting ${quotedName(key)}; known: seed`);
    if (typeof plain !== 'number' || !Number.isSafeInteger(plain) || plain < 0) {
      throw new RequestError('INVALID_ARGUMENT', `seed must be a whole number of 0 or more`);
    }
    seed = plain;
  }
  return seed;
}

/** Closes environments that did not become a world. */
const closeAll = (environments: readonly Environment[]) =>
  Promise.allSettled(environments.map((environment) => environment.close()));
