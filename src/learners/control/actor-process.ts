import { randomUUID } from 'node:crypto';
import { OutOfStepError } from '../../core/errors.js';
import { foldIn, randomKey } from '../../core/random-keys.js';
import { createFamily } from '../../distributions/create.js';
import type { Engine } from '../../engine/engine.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { pause, type RedisConnection, RedisWaitAborted } from '../../replay/redis/connection.js';
import { runKeys } from '../../replay/redis/keys.js';
import { ChunkBuilder } from '../../replay/redis/packing.js';
import { type AppendOutcome, type Chunk, ReplayWriter } from '../../replay/redis/replay-writer.js';
import { bytesPerTransition } from '../../replay/transition-shape.js';
import { ActingLoop } from './acting-loop.js';
import { ReplaceablePolicy } from './acting-policy.js';
import type { ActorConfig } from './config.js';
import { returnSteps } from './return-steps.js';
import { RunWatch } from './run-watch.js';

/** What an actor process needs. Shapes: K environments, O observation size, A action dimensions. */
export interface ActorOptions {
  readonly config: ActorConfig;
  readonly engine: Engine;
  /** The K environments to act in. */
  readonly environment: VectorEnvironment;
  /** `environment.simulator` of the configuration, which must be that of the learner. */
  readonly simulator: string | undefined;
  readonly connection: RedisConnection;
  /** The run's name in Redis. */
  readonly run: string;
  /** A name that no other actor has or has had: new each time that the process starts. */
  readonly actor: string;
  readonly notice: (message: string) => void;
  /** Called after each chunk that Redis has confirmed. */
  readonly onStored: (progress: ActorProgress) => void;
  /** When aborted, the actor sends the transitions that it has and ends. */
  readonly signal?: AbortSignal;
  /** Milliseconds from any starting point. */
  readonly clock: () => number;
}

/** How far an actor has come. */
export interface ActorProgress {
  /** The actor's name in Redis. */
  readonly actor: string;
  /** Number of the last chunk that Redis has confirmed. */
  readonly sequence: number;
  /** Transitions of this actor that Redis has confirmed. */
  readonly stored: number;
  /** Transitions of all actors. */
  readonly inserted: number;
  /** Updates behind the policy that acts now. */
  readonly updates: number;
}

/** How far an actor came, and why it ended. */
export interface ActorResult extends ActorProgress {
  /** True if the run is finished; false if the actor was stopped before. */
  readonly finished: boolean;
}

/** A chunk is sent when it has this many transitions, or this many bytes, or when its oldest transition is this old. */
const chunkTransitions = 32;
const chunkBytes = 2 ** 20;
const chunkAgeMs = 500;
/** Time between two offers of a chunk that has to wait for the learner: the first, and the longest. */
const retryMs = { first: 20, most: 500 };
/** Time that a stopped actor takes at most to store what it has. */
const farewellMs = 3_000;

/**
 * Acts in K environments with the newest policy that the run's learner has published, and stores n-step transitions in Redis,
 * until the run is finished or the signal is aborted. Waits while the learner has not begun, is absent, or lags behind.
 *
 * @throws PmpoError when the learner has another configuration, Redis refuses, or the simulators fail; OutOfStepError if what was
 *   sent cannot be trusted.
 */
export async function runActor(options: ActorOptions): Promise<ActorResult> {
  return new Actor(options).run();
}

/** Says of an error after which nothing can be trusted that some of it has been sent. */
function sent(error: unknown): unknown {
  if (!(error instanceof OutOfStepError)) return error;
  const what = `${error.details.what}. Transitions of this actor's last episodes may be wrong, and the learner may have them`;
  return new OutOfStepError({ ...error.details, what, cause: error });
}

class Actor {
  readonly #options: ActorOptions;
  readonly #policy: ReplaceablePolicy;
  readonly #loop: ActingLoop;
  readonly #chunk: ChunkBuilder;
  /** Transitions after which a chunk is sent. */
  readonly #chunkSize: number;
  readonly #watch: RunWatch;
  #writer: ReplayWriter | undefined;
  /** Return and length of each episode that has ended since the last chunk. */
  #episodes: [number, number][] = [];
  /** Failures of the simulator, and environment steps, that earlier chunks have reported. */
  #failuresReported = 0;
  #stepsReported = 0;
  #chunkStartedAt = 0;
  /** Updates behind the policy that acts. */
  #updates = 0;
  /** The delivery of the previous chunk. */
  #delivering: Promise<AppendOutcome> | undefined;
  /** Transitions stored in runs before the current one. */
  #storedBefore = 0;

  constructor(options: ActorOptions) {
    this.#options = options;
    const { config, engine, environment, simulator, actor, connection, run, notice, signal, clock } = options;
    const { numEnvs, observationSize, actionSize } = environment;
    const family = createFamily(config.policy, environment.actionValues);
    this.#policy = new ReplaceablePolicy(engine, { config, family, observationSize, actionSize });
    const fitting = Math.floor(chunkBytes / bytesPerTransition(environment));
    this.#chunkSize = Math.max(1, Math.min(chunkTransitions, fitting));
    // A step that ends the episode of every environment completes n transitions in each.
    const steps = returnSteps(config.replay, environment.actionValues);
    this.#chunk = new ChunkBuilder(environment, this.#chunkSize + numEnvs * steps);
    this.#loop = new ActingLoop({
      config,
      environment,
      family,
      // The key belongs to this actor alone: two actors that explored alike would store everything twice.
      key: foldIn(foldIn(randomKey(config.seed), 'actor'), actor),
      act: (...inputs) => this.#policy.act(...inputs),
      sink: (...transition) => this.#chunk.add(...transition),
      onEpisode: (episodeReturn, length) => this.#episodes.push([episodeReturn, length]),
    });
    this.#watch = new RunWatch({
      settings: { config, shape: environment, simulator },
      connection,
      keys: runKeys(run),
      run,
      notice,
      signal,
      clock,
    });
  }

  async run(): Promise<ActorResult> {
    try {
      while (await this.#watch.join()) {
        const ended = await this.#actInRun();
        if (ended !== 'gone') {
          await this.#options.environment.verifySteps();
          return this.#result(ended === 'finished');
        }
        this.#options.notice('Redis holds another run of this name now: joining that one');
      }
      return this.#result(this.#watch.finished);
    } catch (error) {
      if (error instanceof RedisWaitAborted && this.#options.signal?.aborted) return this.#result(false);
      throw sent(error);
    } finally {
      await this.#watch.stop();
    }
  }

  /** Acts until this run is finished or gone, or the actor is stopped. */
  async #actInRun(): Promise<'finished' | 'gone' | 'stopped'> {
    const { signal } = this.#options;
    this.#beginRun();
    await this.#loop.reset();
    for (let step = 0; ; step++) {
      if (signal?.aborted) return this.#farewell();
      const ended = this.#watch.ended;
      if (ended !== undefined) return ended;
      await this.#replacePolicy();
      const { stepped } = await this.#loop.startStep(step, this.#stepsOfAll);
      const result = await stepped;
      if (this.#chunk.count === 0) this.#chunkStartedAt = this.#options.clock();
      this.#loop.record(result);
      if (!this.#isDue()) continue;
      // One chunk is in flight while the next one is filled: a learner that lags holds its actors back.
      const delivered = await this.#delivering;
      if (delivered === 'finished' || delivered === 'gone') return delivered;
      if (signal?.aborted) return this.#farewell();
      this.#delivering = this.#deliver(this.#takeChunk(), signal);
      // The result is awaited when the next chunk is due; a failure must not count as unhandled until then.
      this.#delivering.catch(() => {});
    }
  }

  /** Starts anew with the run that the watch has joined. */
  #beginRun(): void {
    const { connection, run, actor, notice } = this.#options;
    this.#storedBefore += this.#writer?.stored ?? 0;
    // A new name for each further run, because chunk numbers start again at 1.
    const name = this.#writer === undefined ? actor : `${actor}-${randomUUID().slice(0, 8)}`;
    const { token } = this.#watch;
    this.#writer = new ReplayWriter({ connection, keys: runKeys(run), token, actor: name, notice });
    this.#chunk.clear();
    this.#stepsReported = this.#loop.transitionSteps;
    this.#episodes = [];
    this.#delivering = undefined;
  }

  async #replacePolicy(): Promise<void> {
    const newer = this.#watch.takePolicy();
    if (newer === undefined) return;
    await this.#policy.replace(newer.parameters);
    this.#updates = newer.updates;
  }

  /** Transitions that all actors have stored, as far as this actor knows. */
  get #inserted(): number {
    return Math.max(this.#watch.inserted, this.#writer?.inserted ?? 0);
  }

  /** Environment steps of all actors, if repetitions of actions are cut as often as here. */
  get #stepsOfAll(): number {
    const { transitions, transitionSteps } = this.#loop;
    const each = transitions > 0 ? transitionSteps / transitions : this.#options.environment.actionRepeat;
    return this.#inserted * each;
  }

  #isDue(): boolean {
    const { count } = this.#chunk;
    if (count === 0) return false;
    return count >= this.#chunkSize || this.#options.clock() - this.#chunkStartedAt >= chunkAgeMs;
  }

  #takeChunk(): Chunk {
    const { count } = this.#chunk;
    const failures = Array.from(
      { length: this.#loop.failures - this.#failuresReported },
      () => [null, 0] as const,
    );
    const episodes = [...this.#episodes, ...failures];
    const steps = this.#loop.transitionSteps - this.#stepsReported;
    const chunk = { count, steps, updates: this.#updates, episodes, rows: this.#chunk.take() };
    this.#failuresReported = this.#loop.failures;
    this.#stepsReported = this.#loop.transitionSteps;
    this.#episodes = [];
    return chunk;
  }

  /** Offers a chunk until it is stored, the run has ended, or the signal is aborted: then it was not stored. */
  async #deliver(chunk: Chunk, signal?: AbortSignal): Promise<AppendOutcome> {
    for (let wait = retryMs.first; ; wait = Math.min(2 * wait, retryMs.most)) {
      const outcome = await this.#append(chunk);
      if (outcome !== 'wait' || signal?.aborted) return outcome;
      this.#watch.heldBack();
      await pause(wait, signal);
    }
  }

  async #append(chunk: Chunk): Promise<AppendOutcome> {
    const outcome = await this.#writer!.append(chunk);
    if (outcome === 'stored') this.#options.onStored(this.#progress());
    return outcome;
  }

  /** Stores the transitions that are left, if Redis takes them quickly. */
  async #farewell(): Promise<'stopped'> {
    const rest = async () => {
      const before = await this.#delivering;
      await this.#options.environment.verifySteps();
      if (this.#chunk.count > 0 && (before === undefined || before === 'stored')) {
        await this.#append(this.#takeChunk());
      }
    };
    await Promise.race([rest().catch(() => {}), pause(farewellMs)]);
    return 'stopped';
  }

  #progress(): ActorProgress {
    const writer = this.#writer;
    return {
      actor: writer?.actor ?? this.#options.actor,
      sequence: writer?.sequence ?? 0,
      stored: this.#storedBefore + (writer?.stored ?? 0),
      inserted: this.#inserted,
      updates: this.#updates,
    };
  }

  #result(finished: boolean): ActorResult {
    return { ...this.#progress(), finished };
  }
}
