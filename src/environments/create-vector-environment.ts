/**
 * The vector environment: `ConnectedEnvironments`, behind its factory `createVectorEnvironment`, steps K environments at once. An
 * EpisodePlayer for each of them plays its episodes.
 */

import { setMaxListeners } from 'node:events';
import type { ReconnectSettings, Sleep } from '../core/backoff.js';
import { PmpoError } from '../core/errors.js';
import type { Environment } from './environment.js';
import { EpisodePlayer } from './episode-player.js';
import { type ActionScaler, scaleActions } from './flatten.js';
import { LossNotices } from './loss-notices.js';
import { type ByteRange, flattenObservations, type ObservationFlattener } from './observation-layout.js';
import { type EnvironmentSpecs, specDifference } from './spec-difference.js';
import type { OpenEpisode, VectorEnvironment, VectorReset, VectorStep } from './vector-environment.js';

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
  /** Whether integer observations with bounds enter the vector as one-hot codes. Default: true. */
  readonly oneHotObservations?: boolean;
  /** The minimum and the maximum of floating-point actions that have no usable bounds of their own; default: they are an error. */
  readonly actionBounds?: readonly [number, number];
  /** Simulator steps for which each action is held: rewards are summed, discounts multiplied. Default: 1. */
  readonly actionRepeat?: number;
  /** Simulator steps after which an episode that has not ended is truncated, with a notice. Default: no limit. */
  readonly maxEpisodeSteps?: number;
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
    closing.abort();
    await Promise.allSettled(environments.map((environment) => environment.close()));
    throw error;
  }
}

/** A controller that also aborts when `signal` does. Once it is aborted, `signal` holds nothing of it. */
function abortedWith(signal: AbortSignal | undefined): AbortController {
  const controller = new AbortController();
  // Every environment that connects or waits listens to it, which Node would otherwise report as a leak.
  setMaxListeners(0, controller.signal);
  if (signal?.aborted) controller.abort();
  signal?.addEventListener('abort', () => controller.abort(), { signal: controller.signal });
  return controller;
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
    rewards: new Float64Array(size),
    discounts: new Float64Array(size),
    terminated: new Uint8Array(size),
    truncated: new Uint8Array(size),
    lost: new Uint8Array(size),
    failures: new Int32Array(size),
    simulatorSteps: new Int32Array(size),
    emptyEpisodes: new Int32Array(size),
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
  readonly actionLayout: ActionScaler['parts'];
  readonly actionRepeat: number;
  readonly observationLayout: Pick<ObservationFlattener, 'parts' | 'notes'>;
  readonly byteRanges: readonly ByteRange[];
  readonly #options: VectorEnvironmentOptions;
  readonly #players: readonly EpisodePlayer[];
  /** Without lockstep: the results of pending steps, until a call of `step` returns them. */
  readonly #unclaimed: VectorStep;
  readonly #pending: (PendingStep | undefined)[];
  readonly #losses: LossNotices;
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
    const flattener = flattenObservations(observationSpec, { oneHot: options.oneHotObservations });
    const scaler = scaleActions(actionSpec, { bounds: options.actionBounds });
    this.numEnvs = options.numEnvs;
    this.observationSize = flattener.size;
    this.observationLayout = { parts: flattener.parts, notes: flattener.notes };
    this.byteRanges = flattener.byteRanges;
    this.actionSize = scaler.size;
    this.actionMinimum = scaler.minimum;
    this.actionMaximum = scaler.maximum;
    this.actionValues = scaler.values;
    this.actionLayout = scaler.parts;
    this.actionRepeat = options.actionRepeat ?? 1;
    this.#losses = new LossNotices(options.notice);
    const shared = {
      ...options,
      flattener,
      scaler,
      actionRepeat: this.actionRepeat,
      maxEpisodeSteps: options.maxEpisodeSteps ?? Number.POSITIVE_INFINITY,
      losses: this.#losses,
      said: new Set<'rounding'>(),
      signal: closing.signal,
      isClosed: () => this.#closed,
      checkSpecs: (k: number, environment: Environment) =>
        requireSpecs(k, environment, { observationSpec, actionSpec }),
    };
    this.#players = environments.map((environment, k) => new EpisodePlayer(k, environment, shared));
    this.#unclaimed = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    this.#pending = this.#players.map(() => undefined);
  }

  /** Runs `work` for every environment at once, and waits for all of them before it throws an error. */
  async #forEach<T>(work: (player: EpisodePlayer, k: number) => Promise<T>): Promise<T[]> {
    const settled = await Promise.allSettled(this.#players.map(work));
    return settled.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }

  /** Environment k's part of an array [K, O]. */
  #observationOf(k: number, observations: Float32Array): Float32Array {
    return observations.subarray(k * this.observationSize, (k + 1) * this.observationSize);
  }

  async reset(): Promise<VectorReset> {
    await this.#settle();
    const observations = new Float32Array(this.numEnvs * this.observationSize);
    const emptyEpisodes = await this.#forEach(async (player, k) => {
      const empty = await player.begin(0, this.#observationOf(k, observations));
      player.markSeen();
      return empty;
    });
    return { observations, emptyEpisodes: Int32Array.from(emptyEpisodes) };
  }

  async step(actions: Float32Array): Promise<VectorStep> {
    if (this.#options.lockstep === false) return this.#stepReady(actions);
    const step = emptyStep(this.numEnvs, this.observationSize, this.actionSize);
    step.ready.fill(1);
    step.actions.set(actions);
    await this.#forEach((_, k) => this.#stepOne(k, step));
    for (const player of this.#players) player.markSeen();
    return step;
  }

  /** Steps the environments without a pending step, and returns those that have answered, once half of all have. */
  async #stepReady(actions: Float32Array): Promise<VectorStep> {
    for (const k of this.#players.keys()) this.#pending[k] ??= this.#start(k, actions);
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
      this.#players[k].markSeen();
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
    const own = actions.subarray(k * this.actionSize, (k + 1) * this.actionSize);
    this.#unclaimed.actions.set(own, k * this.actionSize);
    const settled = this.#stepOne(k, this.#unclaimed)
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

  /** Steps environment k with its action in `out`, and writes the results there. */
  async #stepOne(k: number, out: VectorStep): Promise<void> {
    const played = await this.#players[k].step(
      out.actions.subarray(k * this.actionSize, (k + 1) * this.actionSize),
      this.#observationOf(k, out.nextObservations),
      this.#observationOf(k, out.currentObservations),
    );
    out.rewards[k] = played.reward;
    out.discounts[k] = played.discount;
    out.terminated[k] = Number(played.terminated);
    out.truncated[k] = Number(played.truncated);
    out.lost[k] = Number(played.lost);
    out.failures[k] = played.failures;
    out.simulatorSteps[k] = played.simulatorSteps;
    out.emptyEpisodes[k] = played.emptyEpisodes;
  }

  async verifySteps(): Promise<void> {
    await this.#forEach((player) => player.verifySteps());
  }

  state(without?: VectorStep): OpenEpisode[] {
    return this.#players.map(({ open, openBefore }, k) => (without?.ready[k] === 1 ? openBefore : open));
  }

  async restore(episodes: readonly OpenEpisode[]): Promise<Float32Array> {
    await this.#settle();
    const observations = new Float32Array(this.numEnvs * this.observationSize);
    await this.#forEach(async (player, k) => {
      await player.replay(episodes[k], this.#observationOf(k, observations));
      player.markSeen();
    });
    return observations;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.abort();
    await Promise.allSettled(this.#players.map((player) => player.close()));
    this.#losses.flush();
  }
}

/** @throws PmpoError when the specs of environment k are others. */
function requireSpecs(k: number, environment: Environment, specs: EnvironmentSpecs): void {
  const difference = specDifference(environment, specs);
  if (difference === undefined) return;
  throw new PmpoError({
    where: `environment ${k}`,
    what: `its specs differ from those of the environments before it: ${difference}`,
    remedy: 'All environments of a run must be of one kind. Start a new run for another kind',
  });
}
