import type { ReconnectSettings, Sleep } from '../core/backoff.js';
import {
  ConnectionLostError,
  OutOfStepError,
  PmpoError,
  RequestFailedError,
  sentence,
} from '../core/errors.js';
import type { Environment, NamedTensorValues, Reset, Step } from './environment.js';
import type { ActionScaler } from './flatten.js';
import type { LossNotices } from './loss-notices.js';
import type { ObservationFlattener } from './observation-layout.js';
import { reconnect } from './reconnect.js';
import type { OpenEpisode } from './vector-environment.js';

/** The settings that all environments of a vector environment share. */
export interface EpisodePlayerOptions {
  /** Makes environment `index` anew after a lost connection; see VectorEnvironmentOptions. */
  readonly connect: (index: number, signal: AbortSignal) => Promise<Environment>;
  readonly episodeSeed: (index: number, episode: number) => number;
  readonly flattener: ObservationFlattener;
  readonly scaler: ActionScaler;
  /** Simulator steps for which each action is held. */
  readonly actionRepeat: number;
  /** Simulator steps after which an episode is truncated. */
  readonly maxEpisodeSteps: number;
  readonly reconnect: ReconnectSettings;
  readonly notice: (message: string) => void;
  /** Says what several environments lose at once. */
  readonly losses: LossNotices;
  /** What has been said by any of the environments and need not be said again. */
  readonly said: Set<'rounding'>;
  readonly sleep?: Sleep;
  /** Aborted when environments that wait for a lost server must stop waiting. */
  readonly signal: AbortSignal;
  readonly isClosed: () => boolean;
  /** @throws PmpoError when the specs of an environment differ from those of the others. */
  readonly checkSpecs: (index: number, environment: Environment) => void;
}

/** The result of one action of one environment; see VectorStep. */
export interface PlayedStep {
  readonly reward: number;
  readonly discount: number;
  readonly terminated: boolean;
  readonly truncated: boolean;
  readonly lost: boolean;
  readonly failures: number;
  readonly simulatorSteps: number;
  readonly emptyEpisodes: number;
}

/** The failures in a row, or losses of the connection, after which the run ends. */
const maxFailures = 10;
/** An episode that has taken this many steps ends such a row. */
const stepsOfASoundEpisode = 100;
/** The episodes in a row that may be over at their reset. */
const maxEmptyEpisodes = 1000;
/** The largest absolute reward: 100 of them can be added up in float32. */
const maxReward = 1e36;

/**
 * Plays the episodes of one environment: seeds and resets them, holds each action for some simulator steps, records the actions
 * for `replay`, refuses numbers that nothing can be learned from, and goes on with another episode after a lost connection or a
 * failure of the simulator. Shapes: O observation size, A action dimensions.
 */
export class EpisodePlayer {
  readonly #index: number;
  readonly #options: EpisodePlayerOptions;
  #environment: Environment;
  #episode = 0;
  #seed = 0;
  /** Actions taken in the episode, and the simulator steps that they were held for. */
  #actionsTaken = 0;
  #simulatorSteps = 0;
  /** Canonical actions since the reset; grows as needed. */
  #actions: Float32Array;
  /** The open episode as far as the caller knows it: a pending step may be ahead. Also as it was one call of `markSeen` earlier. */
  #seen = { episode: 0, seed: 0, actionsTaken: 0 };
  #seenBefore = this.#seen;
  #failures = 0;
  #failuresInARow = 0;
  #lossesInARow = 0;
  #hasSaidLimit = false;

  constructor(index: number, environment: Environment, options: EpisodePlayerOptions) {
    this.#index = index;
    this.#environment = environment;
    this.#options = options;
    this.#actions = new Float32Array(64 * options.scaler.size);
    options.checkSpecs(index, environment);
  }

  /** The open episode as of the last `markSeen`. */
  get open(): OpenEpisode {
    return this.#openAt(this.#seen);
  }

  /**
   * The open episode as of the call of `markSeen` before the last one. If the step between them ended it, its actions are still there:
   * the next step overwrites them.
   */
  get openBefore(): OpenEpisode {
    return this.#openAt(this.#seenBefore);
  }

  #openAt({
    episode,
    seed,
    actionsTaken,
  }: {
    episode: number;
    seed: number;
    actionsTaken: number;
  }): OpenEpisode {
    return { episode, seed, actions: this.#actions.slice(0, actionsTaken * this.#options.scaler.size) };
  }

  /** Records that the caller now knows all steps of the open episode. */
  markSeen(): void {
    this.#seenBefore = this.#seen;
    this.#seen = { episode: this.#episode, seed: this.#seed, actionsTaken: this.#actionsTaken };
  }

  /**
   * Starts an episode, or the first one after it that is not over at its reset, and writes its first observation, [O].
   * @returns the number of episodes that were over at their reset.
   */
  async begin(episode: number, current: Float32Array): Promise<number> {
    let emptyEpisodes = 0;
    for (let next = episode; ; next++) {
      const reset = await this.#reset(next, this.#options.episodeSeed(this.#index, next));
      if (reset === undefined) continue;
      if (reset.terminated !== true && reset.truncated !== true) {
        this.#write(reset.observation, current);
        return emptyEpisodes;
      }
      emptyEpisodes += 1;
      if (emptyEpisodes === maxEmptyEpisodes) {
        throw new PmpoError({
          where: this.#where,
          what: `${emptyEpisodes} episodes in a row were over at their reset, before any action`,
          remedy: 'Check the state with which the simulator answers a reset',
        });
      }
    }
  }

  /** Resets the environment. If the connection is lost, it does so on another one. @returns undefined if the simulator failed. */
  async #reset(episode: number, seed: number): Promise<Reset | undefined> {
    for (let losses = 0; ; losses++) {
      this.#episode = episode;
      this.#seed = seed;
      this.#actionsTaken = 0;
      this.#simulatorSteps = 0;
      try {
        return await this.#environment.reset({ seed });
      } catch (error) {
        if (error instanceof RequestFailedError) {
          this.#noteFailure(error);
          return undefined;
        }
        const { attempts } = this.#options.reconnect;
        if (!(error instanceof ConnectionLostError) || losses >= attempts) throw this.#placed(error);
        await this.#reconnect(error);
      }
    }
  }

  /**
   * Takes a canonical action, [A], and begins the next episode if this one ends.
   * @param next receives the observation that the action led to, [O].
   * @param current receives the observation to act on next, [O].
   */
  async step(action: Float32Array, next: Float32Array, current: Float32Array): Promise<PlayedStep> {
    const following = this.#episode + 1;
    const failures = this.#failures;
    const failed = () => this.#failures - failures;
    const before = this.#simulatorSteps;
    let result: Pick<PlayedStep, 'reward' | 'discount' | 'terminated' | 'truncated'>;
    try {
      result = await this.#act(action, next);
    } catch (error) {
      if (error instanceof ConnectionLostError) await this.#reconnect(error);
      else if (error instanceof RequestFailedError) this.#noteFailure(error);
      else throw this.#placed(error);
      const simulatorSteps = this.#simulatorSteps - before + 1;
      const emptyEpisodes = await this.begin(following, current);
      const nothing = { reward: 0, discount: 0, terminated: false, truncated: false };
      return { ...nothing, lost: true, failures: failed(), simulatorSteps, emptyEpisodes };
    }
    const simulatorSteps = this.#simulatorSteps - before;
    let emptyEpisodes = 0;
    // The transition is complete: a connection lost now costs only time.
    if (result.terminated || result.truncated) emptyEpisodes = await this.begin(following, current);
    else current.set(next);
    return { ...result, lost: false, failures: failed(), simulatorSteps, emptyEpisodes };
  }

  /** Holds an action for `actionRepeat` steps or until the episode ends, and records it. */
  async #act(action: Float32Array, next: Float32Array) {
    const { scaler, actionRepeat } = this.#options;
    const given = scaler.read(action, 0);
    let [reward, discount] = [0, 1];
    let result: Step;
    let isOver = false;
    let repeats = 0;
    do {
      result = await this.#environment.step(given);
      this.#simulatorSteps += 1;
      repeats += 1;
      reward += result.reward;
      discount *= this.#discountOf(result);
      isOver = result.terminated || result.truncated || this.#isAtLimit();
    } while (repeats < actionRepeat && !isOver);
    this.#record(action);
    if (!(Math.abs(reward) <= maxReward)) this.#refuse(`the reward is ${reward}`);
    this.#write(result.observation, next);
    if (isOver || this.#simulatorSteps >= stepsOfASoundEpisode) {
      this.#failuresInARow = 0;
      this.#lossesInARow = 0;
    }
    const { terminated } = result;
    return { reward, discount, terminated, truncated: isOver && !terminated };
  }

  #discountOf({ discount, terminated }: Step): number {
    if (discount === undefined) return terminated ? 0 : 1;
    if (discount >= 0 && discount <= 1) return discount;
    return this.#refuse(`the discount is ${discount}, which is not between 0 and 1`);
  }

  /** Whether the episode must be cut here; it is said the first time. */
  #isAtLimit(): boolean {
    const { maxEpisodeSteps, notice } = this.#options;
    if (this.#simulatorSteps < maxEpisodeSteps) return false;
    if (!this.#hasSaidLimit) {
      notice(`${this.#where}: the episode has not ended by itself and is cut here, as later ones will be`);
    }
    this.#hasSaidLimit = true;
    return true;
  }

  /** Adds a canonical action to the open episode. */
  #record(action: Float32Array): void {
    const end = (this.#actionsTaken + 1) * action.length;
    if (end > this.#actions.length) {
      const larger = new Float32Array(this.#actions.length * 2);
      larger.set(this.#actions);
      this.#actions = larger;
    }
    this.#actions.set(action, end - action.length);
    this.#actionsTaken += 1;
  }

  /** Replays an open episode. If it now ends, or fails, before the recorded actions do, the next one starts. */
  async replay({ episode, seed, actions }: OpenEpisode, current: Float32Array): Promise<void> {
    for (let losses = 0; ; losses++) {
      try {
        const isOpen = await this.#replayOnce({ episode, seed, actions }, current);
        if (!isOpen) await this.begin(episode + 1, current);
        return;
      } catch (error) {
        const { attempts } = this.#options.reconnect;
        if (!(error instanceof ConnectionLostError) || losses >= attempts) throw error;
        await this.#reconnect(error);
      }
    }
  }

  async #replayOnce({ episode, seed, actions }: OpenEpisode, current: Float32Array): Promise<boolean> {
    const reset = await this.#reset(episode, seed);
    if (reset === undefined || reset.terminated === true || reset.truncated === true) return false;
    this.#write(reset.observation, current);
    const { size } = this.#options.scaler;
    for (let at = 0; at < actions.length; at += size) {
      try {
        const { terminated, truncated } = await this.#act(actions.subarray(at, at + size), current);
        if (terminated || truncated) return false;
      } catch (error) {
        if (!(error instanceof RequestFailedError)) throw error;
        this.#noteFailure(error);
        return false;
      }
    }
    return true;
  }

  /** @throws ConnectionLostError if no attempt succeeds, or if connections are made and lost again and again. */
  async #reconnect(error: ConnectionLostError): Promise<void> {
    this.#lossesInARow += 1;
    if (this.#lossesInARow > maxFailures) {
      throw new ConnectionLostError({
        where: this.#where,
        what: `the connection was lost ${maxFailures} times in a row, within an episode and ${stepsOfASoundEpisode} steps each time: ${error.message}`,
        cause: error,
      });
    }
    const { connect, sleep, signal, reconnect: settings, isClosed, checkSpecs, losses } = this.#options;
    const index = this.#index;
    losses.lost(index, sentence(error.message));
    await this.#environment.close();
    this.#environment = await reconnect(() => connect(index, signal), error, settings, { sleep, signal });
    if (isClosed()) {
      await this.#environment.close();
      throw error;
    }
    checkSpecs(index, this.#environment);
    losses.back(index);
  }

  /** Counts a failure of the simulator. @throws RequestFailedError if it would fail again, or fails again and again. */
  #noteFailure(error: RequestFailedError): void {
    if (error.isFinal) {
      throw new RequestFailedError({ where: this.#where, what: error.message, cause: error });
    }
    this.#failures += 1;
    this.#failuresInARow += 1;
    if (this.#failuresInARow >= maxFailures) {
      throw new RequestFailedError({
        where: this.#where,
        what: `the simulator has failed in ${maxFailures} episodes in a row: ${error.message}`,
        remedy: 'Mend the simulator',
        cause: error,
      });
    }
    // The first failures are said, and then ever fewer: all of them are counted in the metrics.
    if (!Number.isInteger(Math.log2(this.#failures))) return;
    const count = this.#failures === 1 ? '' : ` (failure ${this.#failures})`;
    this.#options.notice(
      `${this.#where}: the simulator failed${count}: ${sentence(error.message)} The episode ends at its last whole step, and another one begins`,
    );
  }

  #write(observation: NamedTensorValues, out: Float32Array): void {
    const { flattener } = this.#options;
    flattener.write(observation, out, 0);
    for (let i = 0; i < out.length; i++) {
      if (!Number.isFinite(out[i])) this.#refuse(flattener.describe(observation, i));
      if (Math.abs(out[i]) >= 2 ** 24) this.#sayRounding(observation, i);
    }
  }

  /** Says once that element `i` of an observation loses digits in float32. */
  #sayRounding(observation: NamedTensorValues, i: number): void {
    const { flattener, notice, said } = this.#options;
    const rounding = said.has('rounding') ? undefined : flattener.rounding(observation, i);
    if (rounding === undefined) return;
    said.add('rounding');
    notice(
      `${this.#where}: ${rounding}, as float32. If its last digits matter, have the simulator scale or shift it`,
    );
  }

  get #where(): string {
    return `environment ${this.#index}, episode ${this.#episode}, step ${this.#simulatorSteps}`;
  }

  /** Throws the error for a number that nothing can be learned from. */
  #refuse(what: string): never {
    throw new PmpoError({
      where: [this.#environment.where, this.#where].filter(Boolean).join(', '),
      what,
      remedy: 'The run has not learned from it. Check the simulator at that step',
    });
  }

  /** Verifies the steps of the open episode. @throws OutOfStepError. */
  async verifySteps(): Promise<void> {
    try {
      await this.#environment.verifySteps?.();
    } catch (error) {
      throw this.#placed(error);
    }
  }

  /** An error about the order of answers, with its place. */
  #placed(error: unknown): unknown {
    if (!(error instanceof OutOfStepError)) return error;
    const { where, ...details } = error.details;
    return new OutOfStepError({
      ...details,
      where: [where, this.#where].filter(Boolean).join(', '),
      cause: error,
    });
  }

  close(): Promise<void> {
    return this.#environment.close();
  }
}
