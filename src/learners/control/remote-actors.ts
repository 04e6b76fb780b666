import type { Config } from '../../config/schema.js';
import { PmpoError } from '../../core/errors.js';
import type { NamedHostTensors } from '../../engine/tensors.js';
import type { TransitionSink } from '../../replay/n-step.js';
import { SampleToInsertRatio } from '../../replay/rate-limiter.js';
import { RedisWaitAborted } from '../../replay/redis/connection.js';
import { Ledger } from '../../replay/redis/ledger.js';
import { unpackChunk } from '../../replay/redis/packing.js';
import type { ReplayReader, StoredChunk } from '../../replay/redis/replay-reader.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { Averages } from './averages.js';
import { contractText } from './contract.js';
import type { Experience, ExperienceShape, ExperienceSnapshot, LearnerProgress } from './experience.js';
import { packPolicy } from './published-policy.js';
import { rateLimits } from './rate-limits.js';

/** A run's replay in Redis, and what the run is there. */
export interface RemoteReplay {
  readonly reader: ReplayReader;
  /** Of a new run; one that goes on has its own in the checkpoint. */
  readonly token: string;
  /** What a person knows the run by. */
  readonly label: string;
}

export interface RemoteActorsOptions {
  readonly config: Config;
  readonly shape: ExperienceShape;
  readonly remote: RemoteReplay;
  readonly readPolicy: () => Promise<NamedHostTensors>;
  readonly sink: TransitionSink;
  readonly averages: Averages;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
  /** Milliseconds; differences alone are used. */
  readonly clock: () => number;
}

/** Taken in at once; updates run in between. */
const chunksPerRead = 1;
const waitMs = 1_000;
/** Nothing came for so long, and a person should know; then twice as long, and so on. */
const firstSilenceMs = 20_000;
/** An actor that sent something in this time counts as there. */
const activeMs = 10_000;

/** What the learner's checkpoint knows of Redis. */
interface Position {
  readonly token: string;
  /** The last chunk taken in. */
  readonly position: string;
  readonly ledger: Readonly<Record<string, number>>;
  readonly offset: number;
}

/**
 * Experience from actors elsewhere, through a stream in Redis. How far it has been read is part of the checkpoint, and
 * Redis keeps every chunk until a checkpoint that has it is safe: a learner that goes on from its checkpoint takes in each
 * stored transition exactly once.
 */
export class RemoteActors implements Experience {
  readonly shape: ExperienceShape;
  readonly needsCheckpointAtStart = true;
  readonly #o: RemoteActorsOptions;
  readonly #limits: SampleToInsertRatio;
  readonly #ledger = new Ledger();
  #token: string;
  #position = '0';
  /** Transitions that Redis has counted and that never came here: 0 unless Redis has lost some. */
  #offset = 0;
  #taken = 0;
  /** Positions of the checkpoints on the disk, oldest first, and of the one being written. */
  #safe: string[] = [];
  #saving = '0';
  #published: number | undefined;
  #inserted = 0;
  #lastArrival: number;
  #silenceSaidMs = 0;
  readonly #lastSeen = new Map<string, number>();

  constructor(options: RemoteActorsOptions) {
    this.#o = options;
    this.shape = options.shape;
    this.#token = options.remote.token;
    this.#limits = new SampleToInsertRatio(rateLimits(options.config));
    this.#lastArrival = options.clock();
  }

  async begin(resume?: Checkpoint): Promise<void> {
    if (resume !== undefined) this.#restore(resume);
    const { remote, config, notice } = this.#o;
    const found = await remote.reader.attach({
      token: this.#token,
      contract: contractText(config, this.shape),
      label: remote.label,
      taken: this.#taken,
      discard: config.replay.discard,
    });
    if (resume === undefined || found === 'resumed') return;
    this.#offset = 0;
    notice('Redis holds nothing of this run any more: going on from what the checkpoint has');
  }

  #restore({ metadata }: Checkpoint): void {
    const { remote, counters } = metadata as { remote?: Position; counters: { environmentSteps: number } };
    if (remote === undefined) {
      throw new PmpoError({
        where: 'checkpoint',
        what: 'it is of a run with worlds of its own, not of one that learns from Redis',
        remedy: 'Resume with the configuration that the run was started with',
      });
    }
    this.#token = remote.token;
    this.#position = remote.position;
    this.#offset = remote.offset;
    this.#ledger.restore(remote.ledger);
    this.#taken = counters.environmentSteps;
    this.#safe = [remote.position];
  }

  async gather(progress: LearnerProgress): Promise<{ readonly arrived: Promise<() => number> }> {
    return { arrived: this.#gather(progress) };
  }

  async #gather({ environmentSteps, updates }: LearnerProgress): Promise<() => number> {
    const { reader } = this.#o.remote;
    const mayLearn = this.updatesAllowed(environmentSteps) > updates;
    // What Redis had before this read: the read then shows whether all of it is there.
    const inserted = this.#inserted;
    try {
      const [chunks] = await Promise.all([
        reader.read(this.#position, chunksPerRead, mayLearn ? 0 : waitMs),
        this.#tell(updates),
      ]);
      return () => (chunks.length === 0 ? this.#nothing(inserted, mayLearn) : this.#take(chunks, updates));
    } catch (error) {
      if (error instanceof RedisWaitAborted) return () => 0;
      throw error;
    }
  }

  /** Publishes the policy when it is due, and how far the learner is. */
  async #tell(updates: number): Promise<void> {
    const { config, remote, readPolicy, averages } = this.#o;
    if (this.#published === undefined || updates - this.#published >= config.replay.publishEvery) {
      this.#published = updates;
      await remote.reader.publish(updates, packPolicy(await readPolicy(), updates));
    }
    const samples = updates * config.learner.batchSize;
    const { chunks, inserted } = await remote.reader.report(
      this.#taken,
      this.#limits.insertsAllowed(samples) + this.#offset,
      config.learner.environmentSteps + this.#offset,
    );
    this.#inserted = inserted;
    averages.add({ 'replay/streamLength': chunks });
    const learnedFrom = this.#taken - config.learner.warmupSteps;
    if (learnedFrom > 0) averages.add({ 'replay/samplesPerInsert': samples / learnedFrom });
  }

  #take(chunks: readonly StoredChunk[], updates: number): number {
    const { averages, sink, notice, clock } = this.#o;
    const now = clock();
    let steps = 0;
    for (const { id, actor, sequence, count, inserted, rows, episodes, updates: actedAfter } of chunks) {
      const { repeated, missing } = this.#ledger.enter(actor, sequence);
      this.#position = id;
      if (missing > 0) notice(`${missing} chunks of actor ${actor} are missing: Redis has lost them`);
      if (!repeated) {
        unpackChunk(rows, count, this.shape, sink);
        steps += count;
        averages.add({ 'actors/policyLag': Math.max(0, updates - actedAfter) });
        for (const [episodeReturn, length] of episodes) {
          averages.add({ 'acting/return': episodeReturn, 'acting/length': length });
        }
      }
      this.#offset = inserted - (this.#taken + steps);
      this.#lastSeen.set(actor, now);
    }
    this.#taken += steps;
    this.#lastArrival = now;
    if (this.#silenceSaidMs > 0) notice('Actors are there again');
    this.#silenceSaidMs = 0;
    for (const [actor, seen] of this.#lastSeen) if (now - seen > activeMs) this.#lastSeen.delete(actor);
    averages.add({ 'actors/active': this.#lastSeen.size });
    return steps;
  }

  #nothing(inserted: number, mayLearn: boolean): number {
    const { clock, notice } = this.#o;
    const missing = inserted - this.#offset - this.#taken;
    if (missing > 0) {
      notice(`${missing} transitions are missing: Redis has counted them and no longer has them`);
      this.#offset += missing;
    }
    const silentMs = clock() - this.#lastArrival;
    if (!mayLearn && silentMs >= Math.max(firstSilenceMs, 2 * this.#silenceSaidMs)) {
      this.#silenceSaidMs = silentMs;
      notice(
        `Waiting for actors: nothing has come for ${Math.round(silentMs / 1000)} s. Start some with: pmpo act CONFIG`,
      );
    }
    return 0;
  }

  updatesAllowed(environmentSteps: number): number {
    const { batchSize, environmentSteps: total } = this.#o.config.learner;
    const allowed = Math.floor(this.#limits.samplesAllowed(environmentSteps) / batchSize);
    return Math.min(allowed, this.updatesDue(total));
  }

  updatesDue(environmentSteps: number): number {
    const { batchSize } = this.#o.config.learner;
    return Math.floor(this.#limits.samplesDue(environmentSteps) / batchSize);
  }

  snapshot(): ExperienceSnapshot {
    this.#saving = this.#position;
    const remote: Position = {
      token: this.#token,
      position: this.#position,
      ledger: this.#ledger.snapshot(),
      offset: this.#offset,
    };
    return {
      // Observations of no worlds: their size is what whoever loads the policy needs.
      tensors: {
        'acting/observations': { shape: [0, this.shape.observationSize], data: new Float32Array() },
      },
      counters: {},
      metadata: { remote },
    };
  }

  async saved(): Promise<void> {
    const { config, remote } = this.#o;
    this.#safe.push(this.#saving);
    // Every checkpoint that is kept can be gone back to, should the newest be damaged.
    if (this.#safe.length > config.checkpoint.keep) this.#safe.shift();
    await ignoringAbort(() => remote.reader.trim(this.#safe[0]));
  }

  async end(): Promise<void> {
    await ignoringAbort(() => this.#o.remote.reader.finish());
  }

  close(): Promise<void> {
    return this.#o.remote.reader.close();
  }
}

/** Housekeeping in Redis that a run which is being stopped does not wait for. */
async function ignoringAbort(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RedisWaitAborted)) throw error;
  }
}
