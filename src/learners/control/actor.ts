import { randomUUID } from 'node:crypto';
import type { Config } from '../../config/schema.js';
import { foldIn, randomKey } from '../../core/random-keys.js';
import { createFamily } from '../../distributions/create.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { Engine } from '../../engine/engine.js';
import type { VectorEnvironment, VectorStep } from '../../environments/vector-environment.js';
import { NStepWindows } from '../../replay/n-step.js';
import { pause, type RedisConnection, RedisWaitAborted } from '../../replay/redis/connection.js';
import { runKeys } from '../../replay/redis/keys.js';
import { ChunkBuilder, rowWidth } from '../../replay/redis/packing.js';
import { type Chunk, ReplayWriter, type Stored } from '../../replay/redis/replay-writer.js';
import { ReplaceablePolicy } from './acting.js';
import { ActingNoise, correlations, headNoise, randomActions } from './noise.js';
import { RunWatch } from './run-watch.js';

export interface ActorOptions {
  readonly config: Config;
  readonly engine: Engine;
  /** K worlds to act in. */
  readonly environment: VectorEnvironment;
  readonly connection: RedisConnection;
  /** The run's name in Redis. */
  readonly run: string;
  /** Text that no other actor has, and this one only for as long as this process runs. */
  readonly actor: string;
  readonly notice: (message: string) => void;
  /** Told after each chunk that Redis has confirmed. */
  readonly onStored: (progress: ActorProgress) => void;
  /** Aborted: what has been completed is sent, and the actor ends. */
  readonly signal?: AbortSignal;
  /** Milliseconds; differences alone are used. */
  readonly clock: () => number;
}

export interface ActorProgress {
  /** As it stands in Redis. */
  readonly actor: string;
  /** Number of the last chunk that Redis has confirmed. */
  readonly sequence: number;
  /** Transitions that Redis has confirmed. */
  readonly stored: number;
  /** Transitions of all actors. */
  readonly inserted: number;
  /** Updates of the policy that acts now. */
  readonly updates: number;
}

export interface ActorResult extends ActorProgress {
  /** The run is done; otherwise the actor was stopped. */
  readonly finished: boolean;
}

/** Sent when there are so many, or so many bytes of them, or when the oldest has waited so long. */
const chunkTransitions = 32;
const chunkBytes = 2 ** 20;
const chunkAgeMs = 500;
/** Between two offers of a chunk that has to wait for the learner. */
const retryMs = { first: 20, most: 500 };
/** What has been completed when an actor is stopped gets so long to be stored. */
const farewellMs = 3_000;

/**
 * Acts in K worlds with the newest policy that the run's learner has published, and stores whole n-step transitions in
 * Redis: until the run is done, or the signal says stop. Waits for the learner to begin, to come back, and to catch up.
 *
 * @throws PmpoError when the learner's configuration is another, Redis refuses, or the simulators fail.
 */
export async function runActor(options: ActorOptions): Promise<ActorResult> {
  return new Actor(options).run();
}

/** Letters: K worlds, O observation size, A action dimensions. */
class Actor {
  readonly #o: ActorOptions;
  readonly #family: DistributionFamily;
  readonly #policy: ReplaceablePolicy;
  readonly #noise: ActingNoise;
  readonly #chunk: ChunkBuilder;
  readonly #chunkSize: number;
  readonly #watch: RunWatch;
  #windows: NStepWindows;
  #writer: ReplayWriter | undefined;
  #episodes: [number, number][] = [];
  #episodeSteps: number[];
  #episodeReturns: number[];
  #chunkStartedAt = 0;
  /** Updates of the policy that acts. */
  #updates = 0;
  #delivering: Promise<Stored> | undefined;
  #stored = 0;

  constructor(options: ActorOptions) {
    this.#o = options;
    const { config, engine, environment, actor, connection, run, notice, signal, clock } = options;
    const { numEnvs, observationSize, actionSize } = environment;
    this.#family = createFamily(config.policy, environment.actionValues);
    const spec = { config, family: this.#family, observationSize, actionSize };
    this.#policy = new ReplaceablePolicy(engine, spec);
    // Of this actor alone: two that explored alike would store everything twice.
    const key = foldIn(foldIn(randomKey(config.seed), 'actor'), actor);
    this.#noise = new ActingNoise(
      numEnvs,
      correlations(config.learner.explorationCorrelation, environment.actionValues),
      key,
    );
    this.#windows = this.#freshWindows();
    const fitting = Math.floor(chunkBytes / (4 * rowWidth(environment)));
    this.#chunkSize = Math.max(1, Math.min(chunkTransitions, fitting));
    // One step completes at most n transitions in each world: at the end of its episode.
    this.#chunk = new ChunkBuilder(environment, this.#chunkSize + numEnvs * config.replay.nStep);
    this.#episodeSteps = Array(numEnvs).fill(0);
    this.#episodeReturns = Array(numEnvs).fill(0);
    this.#watch = new RunWatch({
      config,
      shape: environment,
      connection,
      keys: runKeys(run),
      run,
      notice,
      signal,
      clock,
    });
  }

  #freshWindows(): NStepWindows {
    const { config, environment } = this.#o;
    return new NStepWindows({
      numEnvs: environment.numEnvs,
      observationSize: environment.observationSize,
      actionSize: environment.actionSize,
      steps: config.replay.nStep,
      discount: config.learner.discount,
    });
  }

  async run(): Promise<ActorResult> {
    try {
      while (await this.#watch.join()) {
        const ended = await this.#actInRun();
        if (ended !== 'gone') return this.#result(ended === 'finished');
        this.#o.notice('Redis holds another run of this name now: joining that one');
      }
      return this.#result(this.#watch.finished);
    } catch (error) {
      if (error instanceof RedisWaitAborted && this.#o.signal?.aborted) return this.#result(false);
      throw error;
    } finally {
      await this.#watch.stop();
    }
  }

  /** Acts until this run is done or gone, or the actor is stopped. */
  async #actInRun(): Promise<'finished' | 'gone' | 'stopped'> {
    const { environment, connection, run, actor, notice, signal } = this.#o;
    this.#stored += this.#writer?.stored ?? 0;
    // Another name for each run: what the one before numbered means nothing here.
    const name = this.#writer === undefined ? actor : `${actor}-${randomUUID().slice(0, 8)}`;
    this.#writer = new ReplayWriter({
      connection,
      keys: runKeys(run),
      token: this.#watch.token,
      actor: name,
      notice,
    });
    this.#windows = this.#freshWindows();
    this.#chunk.clear();
    this.#episodes = [];
    this.#episodeSteps.fill(0);
    this.#episodeReturns.fill(0);
    this.#delivering = undefined;
    const observations = await environment.reset();
    for (let step = 0; ; step++) {
      if (signal?.aborted) return this.#farewell();
      const ended = this.#watch.ended;
      if (ended !== undefined) return ended;
      await this.#replacePolicy();
      const actions = await this.#chooseActions(observations, step);
      const result = await environment.step(actions);
      this.#remember(observations, result);
      if (!this.#isDue()) continue;
      // One chunk on its way, one being filled: a learner that is behind holds its actors back.
      const delivered = await this.#delivering;
      if (delivered === 'finished' || delivered === 'gone') return delivered;
      if (signal?.aborted) return this.#farewell();
      this.#delivering = this.#deliver(this.#takeChunk(), signal);
      // Looked at when the next chunk is due; until then nobody else does.
      this.#delivering.catch(() => {});
    }
  }

  async #replacePolicy(): Promise<void> {
    const newer = this.#watch.takePolicy();
    if (newer === undefined) return;
    await this.#policy.replace(newer.parameters);
    this.#updates = newer.updates;
  }

  async #chooseActions(observations: Float32Array, step: number): Promise<Float32Array> {
    const { config, environment } = this.#o;
    const z = this.#noise.advance(step);
    const inserted = Math.max(this.#watch.inserted, this.#writer?.inserted ?? 0);
    if (inserted < config.learner.warmupSteps) return randomActions(z, environment.actionValues);
    return this.#policy.act(observations, headNoise(this.#family, z), environment.numEnvs);
  }

  /** Takes in what the worlds that answered came to, and moves `observations` on. */
  #remember(observations: Float32Array, step: VectorStep): void {
    const { environment, clock } = this.#o;
    const { observationSize: o, actionSize: a } = environment;
    const before = this.#chunk.count;
    for (let k = 0; k < environment.numEnvs; k++) {
      if (step.ready[k] === 0) continue;
      const end = {
        terminated: step.terminated[k] === 1,
        truncated: step.truncated[k] === 1,
        lost: step.lost[k] === 1,
      };
      this.#windows.step(
        k,
        observations.subarray(k * o, (k + 1) * o),
        step.actions.subarray(k * a, (k + 1) * a),
        step.rewards[k],
        step.finalObservations.subarray(k * o, (k + 1) * o),
        end,
        (...transition) => this.#chunk.add(...transition),
      );
      this.#episodeSteps[k] += 1;
      if (!end.lost) this.#episodeReturns[k] += step.rewards[k];
      if (end.terminated || end.truncated || end.lost) {
        if (!end.lost) this.#episodes.push([this.#episodeReturns[k], this.#episodeSteps[k]]);
        this.#episodeReturns[k] = 0;
        this.#episodeSteps[k] = 0;
      }
      observations.set(step.observations.subarray(k * o, (k + 1) * o), k * o);
    }
    if (before === 0) this.#chunkStartedAt = clock();
  }

  #isDue(): boolean {
    const { count } = this.#chunk;
    if (count === 0) return false;
    return count >= this.#chunkSize || this.#o.clock() - this.#chunkStartedAt >= chunkAgeMs;
  }

  #takeChunk(): Chunk {
    const { count } = this.#chunk;
    const chunk = { count, updates: this.#updates, episodes: this.#episodes, rows: this.#chunk.take() };
    this.#episodes = [];
    return chunk;
  }

  /** Offers a chunk until it is stored, the run is over, or the signal says stop: then it was never stored. */
  async #deliver(chunk: Chunk, signal?: AbortSignal): Promise<Stored> {
    for (let wait = retryMs.first; ; wait = Math.min(2 * wait, retryMs.most)) {
      const stored = await this.#writer!.append(chunk);
      if (stored === 'stored') this.#o.onStored(this.#progress());
      if (stored !== 'wait' || signal?.aborted) return stored;
      this.#watch.heldBack();
      await pause(wait, signal);
    }
  }

  /** Stores what has been completed, if that goes quickly. */
  async #farewell(): Promise<'stopped'> {
    const rest = async () => {
      const before = await this.#delivering;
      if (this.#chunk.count > 0 && (before === undefined || before === 'stored')) {
        const stored = await this.#writer!.append(this.#takeChunk());
        if (stored === 'stored') this.#o.onStored(this.#progress());
      }
    };
    await Promise.race([rest().catch(() => {}), pause(farewellMs)]);
    return 'stopped';
  }

  #progress(): ActorProgress {
    const writer = this.#writer;
    return {
      actor: writer?.actor ?? this.#o.actor,
      sequence: writer?.sequence ?? 0,
      stored: this.#stored + (writer?.stored ?? 0),
      inserted: Math.max(writer?.inserted ?? 0, this.#watch.inserted),
      updates: this.#updates,
    };
  }

  #result(finished: boolean): ActorResult {
    return { ...this.#progress(), finished };
  }
}
