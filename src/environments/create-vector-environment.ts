import { setMaxListeners } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import type { ReconnectSettings, Sleep } from '../core/backoff.js';
import { ConnectionLostError, PmpoError } from '../core/errors.js';
import type { Environment, NamedTensorValues } from './environment.js';
import {
  type ActionScaler,
  flattenObservations,
  type ObservationFlattener,
  scaleActions,
} from './flatten.js';
import { reconnect } from './reconnect.js';
import type { OpenEpisode, VectorEnvironment, VectorStep } from './vector-environment.js';

export interface VectorEnvironmentOptions {
  /** Makes world k's environment, at the start and after each loss. Aborted: nobody waits for it any more. */
  readonly connect: (world: number, signal: AbortSignal) => Promise<Environment>;
  /** K, the environments stepped at once. */
  readonly numEnvs: number;
  /** The seed of each episode: explicit, so that any of them can be had again. */
  readonly episodeSeed: (world: number, episode: number) => number;
  /**
   * True: every step waits for every world, and the same seed gives the same experience. False: for half of them, so that
   * a slow or lost server does not hold back the others.
   */
  readonly lockstep?: boolean;
  readonly reconnect: ReconnectSettings;
  /** Told what a person should know: losses and returns. */
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
  readonly sleep?: Sleep;
}

/**
 * Connects to K worlds and steps them together; see VectorEnvironment.
 * @throws PmpoError when a world cannot be reached or its specs cannot be used by a policy.
 */
export async function createVectorEnvironment(options: VectorEnvironmentOptions): Promise<VectorEnvironment> {
  const closing = abortedWith(options.signal);
  const connecting = Array.from({ length: options.numEnvs }, (_, k) => options.connect(k, closing.signal));
  const settled = await Promise.allSettled(connecting);
  const environments = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = settled.find((result) => result.status === 'rejected');
  try {
    if (failed !== undefined) throw failed.reason;
    return new Worlds(options, environments, closing);
  } catch (error) {
    await Promise.allSettled(environments.map((environment) => environment.close()));
    throw error;
  }
}

/** Aborts with a signal, or by itself. */
function abortedWith(signal: AbortSignal | undefined): AbortController {
  const controller = new AbortController();
  // Every world that connects or waits listens to it: many listeners are no leak.
  setMaxListeners(0, controller.signal);
  if (signal?.aborted) controller.abort();
  signal?.addEventListener('abort', () => controller.abort(), { once: true });
  return controller;
}

/** One world: its environment, and the episode that is open there. */
interface World {
  environment: Environment;
  episode: number;
  seed: number;
  steps: number;
  /** Canonical actions since the reset; grows as needed. */
  actions: Float32Array;
  /** The open episode as the caller has seen it: a step under way may be ahead. */
  seen: { episode: number; seed: number; steps: number };
}

/** A step under way, and how it ended. */
interface Pending {
  readonly settled: Promise<void>;
  ended: boolean;
  error?: unknown;
}

function emptyStep(size: number, observationSize: number, actionSize: number): VectorStep {
  return {
    ready: new Uint8Array(size),
    actions: new Float32Array(size * actionSize),
    observations: new Float32Array(size * observationSize),
    finalObservations: new Float32Array(size * observationSize),
    rewards: new Float32Array(size),
    terminated: new Uint8Array(size),
    truncated: new Uint8Array(size),
    lost: new Uint8Array(size),
  };
}

/** Copies what belongs to world k from one step to another. */
function copyWorld(k: number, from: VectorStep, to: VectorStep): void {
  for (const name of Object.keys(from) as (keyof VectorStep)[]) {
    const width = from[name].length / from.ready.length;
    to[name].set(from[name].subarray(k * width, (k + 1) * width), k * width);
  }
}

class Worlds implements VectorEnvironment {
  readonly numEnvs: number;
  readonly observationSize: number;
  readonly actionSize: number;
  readonly actionMinimum: Float32Array;
  readonly actionMaximum: Float32Array;
  readonly actionValues: Int32Array;
  readonly #options: VectorEnvironmentOptions;
  readonly #worlds: World[];
  readonly #flattener: ObservationFlattener;
  readonly #scaler: ActionScaler;
  readonly #specs: Pick<Environment, 'observationSpec' | 'actionSpec'>;
  /** Where worlds put their results when they do not go in lockstep, until they are asked for. */
  readonly #landing: VectorStep;
  readonly #pending: (Pending | undefined)[];
  /** Called whenever a step under way has ended. */
  #wake: () => void = () => {};
  /** Aborted when nothing more is wanted: worlds that are waiting for a lost server stop waiting. */
  readonly #closing: AbortController;
  #closed = false;

  constructor(
    options: VectorEnvironmentOptions,
    environments: readonly Environment[],
    closing: AbortController,
  ) {
    this.#closing = closing;
    const { observationSpec, actionSpec } = environments[0];
    this.#options = options;
    this.#specs = { observationSpec, actionSpec };
    this.#flattener = flattenObservations(observationSpec);
    this.#scaler = scaleActions(actionSpec);
    this.numEnvs = options.numEnvs;
    this.observationSize = this.#flattener.size;
    this.actionSize = this.#scaler.size;
    this.actionMinimum = this.#scaler.minimum;
    this.actionMaximum = this.#scaler.maximum;
    this.actionValues = this.#scaler.values;
    this.#worlds = environments.map((environment) => ({
      environment,
      episode: 0,
      seed: 0,
      steps: 0,
      actions: new Float32Array(64 * this.actionSize),
      seen: { episode: 0, seed: 0, steps: 0 },
    }));
    this.#landing = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    this.#pending = this.#worlds.map(() => undefined);
    for (const k of this.#worlds.keys()) this.#checkSpecs(k);
  }

  #checkSpecs(k: number): void {
    const { observationSpec, actionSpec } = this.#worlds[k].environment;
    if (isDeepStrictEqual({ observationSpec, actionSpec }, this.#specs)) return;
    throw new PmpoError({
      where: `world ${k}`,
      what: 'its specs of observations or actions differ from those that the run started with',
      remedy: 'Have every world of the server be of one kind, and start a new run for another',
    });
  }

  /** Runs `work` in every world at once; all have ended, one way or another, before an error is thrown. */
  async #everywhere<T>(work: (k: number) => Promise<T>): Promise<T[]> {
    const settled = await Promise.allSettled(this.#worlds.map((_, k) => work(k)));
    return settled.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }

  async reset(): Promise<Float32Array> {
    await this.#settle();
    const observations = new Float32Array(this.numEnvs * this.observationSize);
    await this.#everywhere(async (k) => {
      await this.#surviving(k, () => this.#begin(k, 0, observations));
      this.#show(k);
    });
    return observations;
  }

  /** Does something that needs a connection; after a loss connects again and does it again, as often as that is tried. */
  async #surviving(k: number, work: () => Promise<void>): Promise<void> {
    for (let losses = 0; ; losses++) {
      try {
        return await work();
      } catch (error) {
        const { attempts } = this.#options.reconnect;
        if (!(error instanceof ConnectionLostError) || losses >= attempts) throw error;
        await this.#reconnect(k, error);
      }
    }
  }

  async #reconnect(k: number, error: ConnectionLostError): Promise<void> {
    const { connect, notice, sleep, reconnect: settings } = this.#options;
    const { signal } = this.#closing;
    const world = this.#worlds[k];
    notice(`world ${k}: ${error.message}. Reconnecting`);
    await world.environment.close();
    world.environment = await reconnect(() => connect(k, signal), error, settings, { sleep, signal });
    if (this.#closed) {
      await world.environment.close();
      throw error;
    }
    this.#checkSpecs(k);
    notice(`world ${k}: connected again; a fresh episode starts there`);
  }

  /** Starts an episode and writes its first observation. */
  async #begin(k: number, episode: number, observations: Float32Array): Promise<void> {
    const world = this.#worlds[k];
    const seed = this.#options.episodeSeed(k, episode);
    const { observation } = await world.environment.reset({ seed });
    Object.assign(world, { episode, seed, steps: 0 });
    this.#write(k, observation, observations);
  }

  #write(k: number, observation: NamedTensorValues, observations: Float32Array): void {
    const start = k * this.observationSize;
    this.#flattener.write(observation, observations, start);
    for (let i = start; i < start + this.observationSize; i++) {
      if (!Number.isFinite(observations[i])) this.#refuse(k, this.#partAt(i - start), observations[i]);
    }
  }

  #partAt(index: number): string {
    let end = 0;
    const part = this.#flattener.parts.find(({ size }) => {
      end += size;
      return index < end;
    })!;
    return `observation '${part.name}'[${index - (end - part.size)}]`;
  }

  #refuse(k: number, what: string, value: number): never {
    const { episode, steps } = this.#worlds[k];
    throw new PmpoError({
      where: `world ${k}, episode ${episode}, step ${steps}`,
      what: `${what} is ${value}`,
      remedy: 'Nothing was learned from it. Look at the simulator at that step',
    });
  }

  async step(actions: Float32Array): Promise<VectorStep> {
    if (this.#options.lockstep === false) return this.#stepReady(actions);
    const step = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    step.ready.fill(1);
    step.actions.set(actions);
    await this.#everywhere((k) => this.#stepWorld(k, actions, step));
    for (const k of this.#worlds.keys()) this.#show(k);
    return step;
  }

  /** Steps the worlds that are not under way, and returns with those that have answered once half of all have. */
  async #stepReady(actions: Float32Array): Promise<VectorStep> {
    for (const k of this.#worlds.keys()) this.#pending[k] ??= this.#send(k, actions);
    const enough = Math.ceil(this.numEnvs / 2);
    const pending = this.#pending as Pending[];
    while (pending.filter(({ ended }) => ended).length < enough) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (pending.some(({ error }) => error !== undefined)) {
      // All have ended, one way or another, before an error is thrown.
      await Promise.all(pending.map(({ settled }) => settled));
      throw pending.find(({ error }) => error !== undefined)!.error;
    }
    const step = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    for (const [k, { ended }] of pending.entries()) {
      if (!ended) continue;
      copyWorld(k, this.#landing, step);
      step.ready[k] = 1;
      this.#pending[k] = undefined;
      this.#show(k);
    }
    return step;
  }

  /** Waits for the steps under way; what they come to is dropped. */
  async #settle(): Promise<void> {
    await Promise.all(this.#pending.map((pending) => pending?.settled));
    this.#pending.fill(undefined);
  }

  /** Sets a world's step on its way; how it ends is kept until it is asked for. */
  #send(k: number, actions: Float32Array): Pending {
    const own = { start: k * this.actionSize, end: (k + 1) * this.actionSize };
    const landing = this.#landing;
    landing.actions.set(actions.subarray(own.start, own.end), own.start);
    for (const flags of [landing.terminated, landing.truncated, landing.lost]) flags[k] = 0;
    landing.rewards[k] = 0;
    const settled = this.#stepWorld(k, landing.actions, landing)
      .catch((error: unknown) => {
        pending.error = error;
      })
      .then(() => {
        pending.ended = true;
        this.#wake();
      });
    const pending: Pending = { settled, ended: false };
    return pending;
  }

  /** What the caller now knows of a world's episode. */
  #show(k: number): void {
    const { episode, seed, steps } = this.#worlds[k];
    this.#worlds[k].seen = { episode, seed, steps };
  }

  async #stepWorld(k: number, actions: Float32Array, out: VectorStep): Promise<void> {
    const world = this.#worlds[k];
    const next = world.episode + 1;
    let result: Awaited<ReturnType<Environment['step']>>;
    try {
      result = await world.environment.step(this.#scaler.read(actions, k * this.actionSize));
    } catch (error) {
      if (!(error instanceof ConnectionLostError)) throw error;
      await this.#reconnect(k, error);
      await this.#surviving(k, () => this.#begin(k, next, out.observations));
      out.lost[k] = 1;
      return;
    }
    this.#record(world, actions.subarray(k * this.actionSize, (k + 1) * this.actionSize));
    if (!Number.isFinite(result.reward)) this.#refuse(k, 'the reward', result.reward);
    this.#write(k, result.observation, out.finalObservations);
    out.rewards[k] = result.reward;
    out.terminated[k] = Number(result.terminated);
    out.truncated[k] = Number(result.truncated);
    if (result.terminated || result.truncated) {
      // The transition is whole: a loss now costs nothing but the wait.
      await this.#surviving(k, () => this.#begin(k, next, out.observations));
    } else {
      const start = k * this.observationSize;
      out.observations.set(out.finalObservations.subarray(start, start + this.observationSize), start);
    }
  }

  #record(world: World, action: Float32Array): void {
    const end = (world.steps + 1) * this.actionSize;
    if (end > world.actions.length) {
      const larger = new Float32Array(world.actions.length * 2);
      larger.set(world.actions);
      world.actions = larger;
    }
    world.actions.set(action, end - this.actionSize);
    world.steps += 1;
  }

  state(): OpenEpisode[] {
    return this.#worlds.map(({ seen: { episode, seed, steps }, actions }) => ({
      episode,
      seed,
      actions: actions.slice(0, steps * this.actionSize),
    }));
  }

  async restore(episodes: readonly OpenEpisode[]): Promise<Float32Array> {
    await this.#settle();
    const observations = new Float32Array(this.numEnvs * this.observationSize);
    await this.#everywhere(async (k) => {
      await this.#surviving(k, () => this.#replay(k, episodes[k], observations));
      this.#show(k);
    });
    return observations;
  }

  /** Plays an open episode again up to where it stood; one that now ends before that makes room for the next. */
  async #replay(
    k: number,
    { episode, seed, actions }: OpenEpisode,
    observations: Float32Array,
  ): Promise<void> {
    const world = this.#worlds[k];
    const { observation } = await world.environment.reset({ seed });
    Object.assign(world, { episode, seed, steps: 0 });
    this.#write(k, observation, observations);
    for (let at = 0; at < actions.length; at += this.actionSize) {
      const result = await world.environment.step(this.#scaler.read(actions, at));
      this.#record(world, actions.subarray(at, at + this.actionSize));
      if (result.terminated || result.truncated) return this.#begin(k, episode + 1, observations);
      this.#write(k, result.observation, observations);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.abort();
    await Promise.allSettled(this.#worlds.map(({ environment }) => environment.close()));
  }
}
