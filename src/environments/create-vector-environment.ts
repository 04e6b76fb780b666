/**
 * The vector environment: `ConnectedEnvironments`, behind its factory `createVectorEnvironment`, steps K environments at once,
 * validates and records their episodes, and replaces an environment whose connection is lost.
 */

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

/** How `createVectorEnvironment` makes, seeds and steps its environments, and what it does after a lost connection. */
export interface VectorEnvironmentOptions {
  /**
   * Makes environment `index` (0 … K − 1), at the start and after each lost connection. `signal` is aborted when the
   * environment is no longer needed.
   * @throws ConnectionLostError if another attempt may succeed.
   */
  readonly connect: (index: number, signal: AbortSignal) => Promise<Environment>;
  /** K, the environments stepped at once. */
  readonly numEnvs: number;
  /** The seed of each episode of environment `index`, by which `restore` can repeat the episode. */
  readonly episodeSeed: (index: number, episode: number) => number;
  /**
   * True, the default: every step waits for every environment, and the same seed gives the same experience. False: a step waits
   * for half of them, so that a slow or lost server does not hold back the others.
   */
  readonly lockstep?: boolean;
  readonly reconnect: ReconnectSettings;
  /** Receives one line for each connection that is lost or restored. */
  readonly notice: (message: string) => void;
  /** Aborts connecting and reconnecting. */
  readonly signal?: AbortSignal;
  /** Waits between attempts to reconnect; replaced by tests. */
  readonly sleep?: Sleep;
}

/**
 * Makes K environments and steps them together; see VectorEnvironment.
 * @throws what `connect` throws; PmpoError for specs that differ among the environments, or that a policy cannot use.
 */
export async function createVectorEnvironment(options: VectorEnvironmentOptions): Promise<VectorEnvironment> {
  const closing = abortedWith(options.signal);
  const connecting = Array.from({ length: options.numEnvs }, (_, k) => options.connect(k, closing.signal));
  const settled = await Promise.allSettled(connecting);
  const environments = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = settled.find((result) => result.status === 'rejected');
  try {
    if (failed !== undefined) throw failed.reason;
    return new ConnectedEnvironments(options, environments, closing);
  } catch (error) {
    await Promise.allSettled(environments.map((environment) => environment.close()));
    throw error;
  }
}

/** A controller that also aborts when `signal` does. */
function abortedWith(signal: AbortSignal | undefined): AbortController {
  const controller = new AbortController();
  // Every environment that connects or waits listens to it, which Node would otherwise report as a leak.
  setMaxListeners(0, controller.signal);
  if (signal?.aborted) controller.abort();
  signal?.addEventListener('abort', () => controller.abort(), { once: true });
  return controller;
}

/** An environment and its open episode. */
interface Slot {
  environment: Environment;
  episode: number;
  seed: number;
  steps: number;
  /** Canonical actions since the reset; grows as needed. */
  actions: Float32Array;
  /** The open episode as far as the caller knows it: a pending step may be ahead. */
  seen: { episode: number; seed: number; steps: number };
}

/** A step that has been started and not yet returned to the caller. */
interface PendingStep {
  readonly settled: Promise<void>;
  ended: boolean;
  error?: unknown;
}

function emptyStep(size: number, observationSize: number, actionSize: number): VectorStep {
  return {
    ready: new Uint8Array(size),
    actions: new Float32Array(size * actionSize),
    currentObservations: new Float32Array(size * observationSize),
    nextObservations: new Float32Array(size * observationSize),
    rewards: new Float32Array(size),
    terminated: new Uint8Array(size),
    truncated: new Uint8Array(size),
    lost: new Uint8Array(size),
  };
}

/** Copies the results of environment k from one step to another. */
function copyResults(k: number, from: VectorStep, to: VectorStep): void {
  for (const name of Object.keys(from) as (keyof VectorStep)[]) {
    const width = from[name].length / from.ready.length;
    to[name].set(from[name].subarray(k * width, (k + 1) * width), k * width);
  }
}

class ConnectedEnvironments implements VectorEnvironment {
  readonly numEnvs: number;
  readonly observationSize: number;
  readonly actionSize: number;
  readonly actionMinimum: Float32Array;
  readonly actionMaximum: Float32Array;
  readonly actionValues: Int32Array;
  readonly #options: VectorEnvironmentOptions;
  readonly #slots: Slot[];
  readonly #flattener: ObservationFlattener;
  readonly #scaler: ActionScaler;
  readonly #specs: Pick<Environment, 'observationSpec' | 'actionSpec'>;
  /** Without lockstep: the results of pending steps, until a call of `step` returns them. */
  readonly #unclaimed: VectorStep;
  readonly #pending: (PendingStep | undefined)[];
  /** Called whenever a pending step has ended. */
  #wake: () => void = () => {};
  /** Aborted by `close`: environments that wait for a lost server stop waiting. */
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
    this.#slots = environments.map((environment) => ({
      environment,
      episode: 0,
      seed: 0,
      steps: 0,
      actions: new Float32Array(64 * this.actionSize),
      seen: { episode: 0, seed: 0, steps: 0 },
    }));
    this.#unclaimed = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    this.#pending = this.#slots.map(() => undefined);
    for (const k of this.#slots.keys()) this.#checkSpecs(k);
  }

  #checkSpecs(k: number): void {
    const { observationSpec, actionSpec } = this.#slots[k].environment;
    if (isDeepStrictEqual({ observationSpec, actionSpec }, this.#specs)) return;
    throw new PmpoError({
      where: `environment ${k}`,
      what: 'its observation or action specs differ from those of the environments before it',
      remedy: 'All environments of a run must be of one kind. Start a new run for another kind',
    });
  }

  /** Runs `work` for every environment at once, and waits for all of them before it throws an error. */
  async #forEach<T>(work: (k: number) => Promise<T>): Promise<T[]> {
    const settled = await Promise.allSettled(this.#slots.map((_, k) => work(k)));
    return settled.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }

  async reset(): Promise<Float32Array> {
    await this.#settle();
    const observations = new Float32Array(this.numEnvs * this.observationSize);
    await this.#forEach(async (k) => {
      await this.#reconnecting(k, () => this.#begin(k, 0, observations));
      this.#markSeen(k);
    });
    return observations;
  }

  /** Does `work`. If the connection is lost, reconnects and does it again, up to `reconnect.attempts` times. */
  async #reconnecting(k: number, work: () => Promise<void>): Promise<void> {
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
    const slot = this.#slots[k];
    notice(`environment ${k}: ${error.message}. Reconnecting`);
    await slot.environment.close();
    slot.environment = await reconnect(() => connect(k, signal), error, settings, { sleep, signal });
    if (this.#closed) {
      await slot.environment.close();
      throw error;
    }
    this.#checkSpecs(k);
    notice(`environment ${k}: connected again; it starts a fresh episode`);
  }

  /** Starts an episode and writes its first observation. */
  async #begin(k: number, episode: number, observations: Float32Array): Promise<void> {
    const slot = this.#slots[k];
    const seed = this.#options.episodeSeed(k, episode);
    const { observation } = await slot.environment.reset({ seed });
    Object.assign(slot, { episode, seed, steps: 0 });
    this.#write(k, observation, observations);
  }

  #write(k: number, observation: NamedTensorValues, observations: Float32Array): void {
    const start = k * this.observationSize;
    this.#flattener.write(observation, observations, start);
    for (let i = start; i < start + this.observationSize; i++) {
      if (!Number.isFinite(observations[i])) this.#refuse(k, this.#partAt(i - start), observations[i]);
    }
  }

  /** The observation that element `index` of a vector belongs to, for messages. */
  #partAt(index: number): string {
    let end = 0;
    const part = this.#flattener.parts.find(({ size }) => {
      end += size;
      return index < end;
    })!;
    return `observation '${part.name}'[${index - (end - part.size)}]`;
  }

  /** Throws the error for a number that is not finite. */
  #refuse(k: number, what: string, value: number): never {
    const { episode, steps } = this.#slots[k];
    throw new PmpoError({
      where: `environment ${k}, episode ${episode}, step ${steps}`,
      what: `${what} is ${value}`,
      remedy: 'The run has not learned from it. Check the simulator at that step',
    });
  }

  async step(actions: Float32Array): Promise<VectorStep> {
    if (this.#options.lockstep === false) return this.#stepReady(actions);
    const step = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    step.ready.fill(1);
    step.actions.set(actions);
    await this.#forEach((k) => this.#stepOne(k, actions, step));
    for (const k of this.#slots.keys()) this.#markSeen(k);
    return step;
  }

  /** Steps the environments without a pending step, and returns those that have answered, once half of all have. */
  async #stepReady(actions: Float32Array): Promise<VectorStep> {
    for (const k of this.#slots.keys()) this.#pending[k] ??= this.#start(k, actions);
    const enough = Math.ceil(this.numEnvs / 2);
    const pending = this.#pending as PendingStep[];
    while (pending.filter(({ ended }) => ended).length < enough) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (pending.some(({ error }) => error !== undefined)) {
      // No step may be left running when the error is thrown.
      await Promise.all(pending.map(({ settled }) => settled));
      throw pending.find(({ error }) => error !== undefined)!.error;
    }
    const step = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    for (const [k, { ended }] of pending.entries()) {
      if (!ended) continue;
      copyResults(k, this.#unclaimed, step);
      step.ready[k] = 1;
      this.#pending[k] = undefined;
      this.#markSeen(k);
    }
    return step;
  }

  /** Waits for the pending steps and drops their results. */
  async #settle(): Promise<void> {
    await Promise.all(this.#pending.map((pending) => pending?.settled));
    this.#pending.fill(undefined);
  }

  /** Starts the step of one environment. Its result or error is kept until a call of `step` returns it. */
  #start(k: number, actions: Float32Array): PendingStep {
    const own = { start: k * this.actionSize, end: (k + 1) * this.actionSize };
    const unclaimed = this.#unclaimed;
    unclaimed.actions.set(actions.subarray(own.start, own.end), own.start);
    for (const flags of [unclaimed.terminated, unclaimed.truncated, unclaimed.lost]) flags[k] = 0;
    unclaimed.rewards[k] = 0;
    const settled = this.#stepOne(k, unclaimed.actions, unclaimed)
      .catch((error: unknown) => {
        pending.error = error;
      })
      .then(() => {
        pending.ended = true;
        this.#wake();
      });
    const pending: PendingStep = { settled, ended: false };
    return pending;
  }

  /** Records that the caller now knows all steps of an environment's episode. */
  #markSeen(k: number): void {
    const { episode, seed, steps } = this.#slots[k];
    this.#slots[k].seen = { episode, seed, steps };
  }

  /** Steps environment k and writes the results to `out`. */
  async #stepOne(k: number, actions: Float32Array, out: VectorStep): Promise<void> {
    const slot = this.#slots[k];
    const next = slot.episode + 1;
    let result: Awaited<ReturnType<Environment['step']>>;
    try {
      result = await slot.environment.step(this.#scaler.read(actions, k * this.actionSize));
    } catch (error) {
      if (!(error instanceof ConnectionLostError)) throw error;
      await this.#reconnect(k, error);
      await this.#reconnecting(k, () => this.#begin(k, next, out.currentObservations));
      out.lost[k] = 1;
      return;
    }
    this.#record(slot, actions.subarray(k * this.actionSize, (k + 1) * this.actionSize));
    if (!Number.isFinite(result.reward)) this.#refuse(k, 'the reward', result.reward);
    this.#write(k, result.observation, out.nextObservations);
    out.rewards[k] = result.reward;
    out.terminated[k] = Number(result.terminated);
    out.truncated[k] = Number(result.truncated);
    if (result.terminated || result.truncated) {
      // The transition is complete: a connection lost now costs only time.
      await this.#reconnecting(k, () => this.#begin(k, next, out.currentObservations));
    } else {
      const start = k * this.observationSize;
      out.currentObservations.set(out.nextObservations.subarray(start, start + this.observationSize), start);
    }
  }

  /** Adds a canonical action to the open episode. */
  #record(slot: Slot, action: Float32Array): void {
    const end = (slot.steps + 1) * this.actionSize;
    if (end > slot.actions.length) {
      const larger = new Float32Array(slot.actions.length * 2);
      larger.set(slot.actions);
      slot.actions = larger;
    }
    slot.actions.set(action, end - this.actionSize);
    slot.steps += 1;
  }

  state(): OpenEpisode[] {
    return this.#slots.map(({ seen: { episode, seed, steps }, actions }) => ({
      episode,
      seed,
      actions: actions.slice(0, steps * this.actionSize),
    }));
  }

  async restore(episodes: readonly OpenEpisode[]): Promise<Float32Array> {
    await this.#settle();
    const observations = new Float32Array(this.numEnvs * this.observationSize);
    await this.#forEach(async (k) => {
      await this.#reconnecting(k, () => this.#replay(k, episodes[k], observations));
      this.#markSeen(k);
    });
    return observations;
  }

  /** Replays an open episode. If it now ends before the recorded actions do, the next one starts. */
  async #replay(
    k: number,
    { episode, seed, actions }: OpenEpisode,
    observations: Float32Array,
  ): Promise<void> {
    const slot = this.#slots[k];
    const { observation } = await slot.environment.reset({ seed });
    Object.assign(slot, { episode, seed, steps: 0 });
    this.#write(k, observation, observations);
    for (let at = 0; at < actions.length; at += this.actionSize) {
      const result = await slot.environment.step(this.#scaler.read(actions, at));
      this.#record(slot, actions.subarray(at, at + this.actionSize));
      if (result.terminated || result.truncated) return this.#begin(k, episode + 1, observations);
      this.#write(k, result.observation, observations);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.abort();
    await Promise.allSettled(this.#slots.map(({ environment }) => environment.close()));
  }
}
