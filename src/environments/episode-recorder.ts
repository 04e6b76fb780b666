import { packNumbers } from '../core/packed-numbers.js';
import type { Environment, NamedTensorValues, Reset, Step } from './environment.js';
import type { EpisodeRecording } from './episode-recording.js';
import { type Moment, type Sight, sightOf } from './episode-sights.js';

/**
 * Records what one episode of an environment looks like, in a few hundred kB: the poses of its bodies if it tells them, otherwise the
 * frames of an image among its observations, otherwise its observations and actions as numbers. Long episodes are thinned.
 * Shapes: F moments kept, from the reset (0) on, at equal distances.
 */

/** An episode while it is recorded. All moments but each `every`th are dropped; when there are too many, `every` doubles. */
class OpenRecording {
  every = 1;
  readonly #most: number;
  moments: Moment[] = [];
  /** The reward of every step. */
  readonly rewards: number[] = [];
  terminated = false;
  isOver = false;

  constructor(most: number) {
    this.#most = Math.max(2, most);
  }

  /** Adds the moment after `steps` steps if it is one that is kept. */
  add(steps: number, look: () => Moment): void {
    if (steps % this.every !== 0) return;
    const moment = look();
    // It is awaited at the end; until then, its failure must not look like one that nobody handles.
    moment.catch(() => {});
    this.moments.push(moment);
    if (this.moments.length <= this.#most) return;
    this.moments = this.moments.filter((_, i) => i % 2 === 0);
    this.every *= 2;
  }
}

/** Options of an EpisodeRecorder. */
export interface EpisodeRecorderOptions {
  /** Receives a line when an episode cannot be recorded; the episode itself goes on. */
  readonly notice: (message: string) => void;
}

/**
 * Records the first whole episode after each `start` of the environment that it has wrapped. The environment is reset and stepped as
 * without it: what is recorded is only looked at.
 */
export class EpisodeRecorder {
  readonly #notice: (message: string) => void;
  #isArmed = false;
  #sight: Sight | undefined;
  #recording: OpenRecording | undefined;
  #hasFailed = false;

  constructor({ notice }: EpisodeRecorderOptions) {
    this.#notice = notice;
  }

  /** The environment, whose episodes this recorder looks at. Wrap the one that takes its place after a lost connection, too. */
  wrap(environment: Environment): Environment {
    this.#sight = undefined;
    this.#recording = undefined;
    return new RecordedEnvironment(environment, this);
  }

  /** The episode of the next reset is recorded. */
  start(): void {
    this.#isArmed = true;
    this.#recording = undefined;
  }

  /** The episode that was recorded since `start`; undefined if none has come to its end, or it could not be recorded. */
  async take(): Promise<EpisodeRecording | undefined> {
    const [recording, sight] = [this.#recording, this.#sight];
    this.#isArmed = false;
    this.#recording = undefined;
    if (recording === undefined || sight === undefined || !recording.isOver) return undefined;
    const { rewards, terminated } = recording;
    let { every } = recording;
    try {
      let moments: Float32Array[] = [];
      for (const moment of await Promise.all(recording.moments))
        if (moment !== undefined) moments.push(moment);
      let packed = sight.pack(moments);
      while (packed === undefined) {
        moments = moments.filter((_, i) => i % 2 === 0);
        every *= 2;
        packed = sight.pack(moments);
      }
      const means = moments.map((_, f) => meanOf(rewards.slice(Math.max(0, f - 1) * every, f * every)));
      return {
        format: 'pmpo episode 1',
        return: rewards.reduce((sum, reward) => sum + reward, 0),
        steps: rewards.length,
        every,
        terminated,
        rewards: packNumbers(means, 1),
        ...packed,
      };
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** Says once that recording does not work. */
  #fail(error: unknown): void {
    this.#recording = undefined;
    if (!this.#hasFailed) this.#notice(`the episode is not recorded: ${(error as Error).message}`);
    this.#hasFailed = true;
  }

  /** @internal The environment has been reset. */
  async onReset(environment: Environment, { observation }: Reset): Promise<void> {
    // The player may cut an episode that does not end by itself: the next reset shows that it did.
    if (this.#recording !== undefined && this.#recording.rewards.length > 0) {
      this.#recording.isOver = true;
      return;
    }
    if (!this.#isArmed || this.#recording?.isOver === true) return;
    try {
      this.#sight ??= await sightOf(environment);
    } catch (error) {
      this.#fail(error);
      this.#isArmed = false;
      return;
    }
    const sight = this.#sight;
    this.#recording = new OpenRecording(sight.most);
    this.#recording.add(0, () => sight.look(observation, undefined));
  }

  /** @internal The environment has been stepped. */
  onStep(action: NamedTensorValues, { observation, reward, terminated, truncated }: Step): void {
    const [recording, sight] = [this.#recording, this.#sight];
    if (recording === undefined || sight === undefined || recording.isOver) return;
    recording.rewards.push(reward);
    recording.add(recording.rewards.length, () => sight.look(observation, action));
    recording.terminated = terminated;
    recording.isOver = terminated || truncated;
  }

  /** @internal A step has failed: the episode is lost. */
  onFailure(): void {
    if (this.#recording?.isOver !== true) this.#recording = undefined;
  }
}

const meanOf = (values: readonly number[]) =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

/** An environment whose episodes a recorder looks at. */
class RecordedEnvironment implements Environment {
  readonly #environment: Environment;
  readonly #recorder: EpisodeRecorder;

  constructor(environment: Environment, recorder: EpisodeRecorder) {
    this.#environment = environment;
    this.#recorder = recorder;
  }

  get where(): string | undefined {
    return this.#environment.where;
  }

  get observationSpec() {
    return this.#environment.observationSpec;
  }

  get actionSpec() {
    return this.#environment.actionSpec;
  }

  async reset(options?: { readonly seed?: number }): Promise<Reset> {
    const reset = await this.#environment.reset(options);
    await this.#recorder.onReset(this.#environment, reset);
    return reset;
  }

  async step(action: NamedTensorValues): Promise<Step> {
    try {
      const step = await this.#environment.step(action);
      this.#recorder.onStep(action, step);
      return step;
    } catch (error) {
      this.#recorder.onFailure();
      throw error;
    }
  }

  async verifySteps(): Promise<void> {
    await this.#environment.verifySteps?.();
  }

  close(): Promise<void> {
    return this.#environment.close();
  }
}
