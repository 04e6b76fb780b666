import { PmpoError } from '../../core/errors.js';
import { foreignText } from '../../core/foreign-text.js';
import type { NamedHostTensors } from '../../engine/tensors.js';
import type { TransitionSink } from '../../replay/n-step.js';
import { SampleToInsertRatio } from '../../replay/rate-limiter.js';
import { RedisWaitAborted } from '../../replay/redis/connection.js';
import { Ledger } from '../../replay/redis/ledger.js';
import { unpackChunk } from '../../replay/redis/packing.js';
import type { ReplayReader, StoredChunk } from '../../replay/redis/replay-reader.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { Averages } from './averages.js';
import type { ControlLearnerConfig } from './config.js';
import type {
  Experience,
  ExperienceShape,
  ExperienceSnapshot,
  LearnerProgress,
  PendingExperience,
  RecordExperience,
} from './experience.js';
import { packPolicy } from './published-policy.js';
import { rateLimits } from './rate-limits.js';
import { sharedSettingsText } from './shared-settings.js';

/** A run's replay in Redis, and how the run is known there. */
export interface RemoteReplay {
  readonly reader: Pick<ReplayReader, 'attach' | 'read' | 'report' | 'publish' | 'trim' | 'finish' | 'close'>;
  /** Identifies a new run; a resumed run has its token in the checkpoint. */
  readonly token: string;
  /** Describes this run to people. */
  readonly label: string;
  /** `environment.simulator` of the configuration, which actors must share. */
  readonly simulator: string | undefined;
}

/** What `RemoteActors` needs. */
export interface RemoteActorsOptions {
  readonly config: ControlLearnerConfig;
  readonly shape: ExperienceShape;
  readonly remote: RemoteReplay;
  /** The current parameters of the policy, to be published. */
  readonly readPolicy: () => Promise<NamedHostTensors>;
  readonly sink: TransitionSink;
  readonly averages: Averages;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
  /** Milliseconds from any starting point. */
  readonly clock: () => number;
}

/** Chunks recorded at once; updates run in between. */
const chunksPerRead = 1;
const waitMs = 1_000;
/** Silence before the first notice; each further notice comes after twice as long. */
const firstSilenceMs = 20_000;
/** An actor counts as active if it has sent something within this time. */
const activeMs = 10_000;

/** The state of the stream in Redis as the learner's checkpoint records it. */
interface StreamState {
  readonly token: string;
  /** The last chunk recorded. */
  readonly position: string;
  readonly ledger: Readonly<Record<string, number>>;
  readonly offset: number;
  readonly failures: number;
  /** Transitions recorded; absent in checkpoints of earlier versions, in which each stands for a whole repetition. */
  readonly taken?: number;
}

/**
 * Experience from actors in other processes, through a stream in Redis. The position in the stream is part of the checkpoint,
 * and Redis keeps every chunk until a checkpoint that includes it is safe, so that a resumed learner records each stored
 * transition exactly once.
 */
export class RemoteActors implements Experience {
  readonly shape: ExperienceShape;
  readonly needsCheckpointAtStart = true;
  readonly #options: RemoteActorsOptions;
  readonly #limits: SampleToInsertRatio;
  readonly #ledger = new Ledger();
  #token: string;
  #position = '0';
  /** Transitions that Redis has counted but that never arrived here: 0 unless Redis has lost some. */
  #offset = 0;
  /** Transitions recorded, and the environment steps that they stand for. */
  #taken = 0;
  #steps = 0;
  /** Failures of the simulators of all actors. */
  #failures = 0;
  /** Positions of the checkpoints on the disk, oldest first. */
  #safePositions: string[] = [];
  /** Position of the checkpoint that is being written. */
  #savingPosition = '0';
  /** Updates behind the policy that was published last. */
  #published: number | undefined;
  /** Transitions inserted by all actors, when Redis last reported it. */
  #inserted = 0;
  #lastArrival: number;
  /** Length of the silence at the last notice about it; 0 if there was none since the last arrival. */
  #noticedSilenceMs = 0;
  readonly #lastSeen = new Map<string, number>();

  constructor(options: RemoteActorsOptions) {
    this.#options = options;
    this.shape = options.shape;
    this.#token = options.remote.token;
    this.#limits = new SampleToInsertRatio(rateLimits(options.config, options.shape.actionRepeat));
    this.#lastArrival = options.clock();
  }

  async begin(resume?: Checkpoint): Promise<void> {
    if (resume !== undefined) this.#restore(resume);
    const { remote, config, notice } = this.#options;
    const found = await remote.reader.attach({
      token: this.#token,
      settings: sharedSettingsText({ config, shape: this.shape, simulator: remote.simulator }),
      label: remote.label,
      taken: this.#taken,
      discard: config.replay.discard,
    });
    if (resume === undefined || found === 'resumed') return;
    this.#offset = 0;
    notice('Redis no longer holds anything of this run: resuming from the checkpoint');
  }

  #restore({ metadata }: Checkpoint): void {
    const { remote, counters } = metadata as { remote?: StreamState; counters: { environmentSteps: number } };
    if (remote === undefined) {
      throw new PmpoError({
        where: 'checkpoint',
        what: 'its run stepped its own environments and did not learn from Redis',
        remedy: 'Resume with the configuration that the run was started with',
      });
    }
    this.#token = remote.token;
    this.#position = remote.position;
    this.#offset = remote.offset;
    this.#failures = remote.failures;
    this.#ledger.restore(remote.ledger);
    this.#steps = counters.environmentSteps;
    this.#taken = remote.taken ?? this.#repetitionsOf(counters.environmentSteps);
    this.#safePositions = [remote.position];
  }

  async gather(progress: LearnerProgress): Promise<PendingExperience> {
    return { arrived: this.#gather(progress) };
  }

  async #gather({ environmentSteps, updates }: LearnerProgress): Promise<RecordExperience> {
    const { reader } = this.#options.remote;
    const mayLearn = this.updatesAllowed(environmentSteps) > updates;
    // The count from before this read: if the read comes back empty, all of these transitions should have arrived.
    const inserted = this.#inserted;
    try {
      const [chunks] = await Promise.all([
        reader.read(this.#position, chunksPerRead, mayLearn ? 0 : waitMs),
        this.#report(updates),
      ]);
      return () =>
        chunks.length === 0 ? this.#recordNothing(inserted, mayLearn) : this.#record(chunks, updates);
    } catch (error) {
      if (error instanceof RedisWaitAborted) return () => 0;
      throw error;
    }
  }

  /** Publishes the policy when it is due, and reports the learner's progress. */
  async #report(updates: number): Promise<void> {
    const { config, remote, readPolicy, averages } = this.#options;
    if (this.#published === undefined || updates - this.#published >= config.replay.publishEvery) {
      this.#published = updates;
      await remote.reader.publish(updates, packPolicy(await readPolicy(), updates));
    }
    const samples = updates * config.learner.batchSize;
    const recorded = this.#taken + this.#offset;
    const missing = config.learner.environmentSteps - this.#steps;
    const { chunks, inserted } = await remote.reader.report(
      this.#taken,
      recorded + this.#limits.insertsAllowed(samples) - this.#repetitionsOf(this.#steps),
      // If episodes cut repetitions short, later reports allow more.
      recorded + Math.max(0, this.#repetitionsOf(missing)),
    );
    this.#inserted = inserted;
    averages.add({ 'replay/streamLength': chunks });
    const learnedFrom = this.#taken - this.#repetitionsOf(config.learner.warmupSteps);
    if (learnedFrom > 0) averages.add({ 'replay/samplesPerInsert': samples / learnedFrom });
  }

  #record(chunks: readonly StoredChunk[], updates: number): number {
    const { averages, sink, notice, clock } = this.#options;
    const now = clock();
    let [transitions, steps] = [0, 0];
    for (const chunk of chunks) {
      const { id, actor, sequence, count, inserted, rows, episodes, updates: actedAfter } = chunk;
      const { repeated, missing } = this.#ledger.enter(actor, sequence);
      this.#position = id;
      if (missing > 0)
        notice(`${missing} chunks of actor ${foreignText(actor)} are missing: Redis has lost them`);
      if (!repeated) {
        unpackChunk(rows, count, this.shape, sink);
        transitions += count;
        steps += chunk.steps ?? count * this.shape.actionRepeat;
        averages.add({ 'actors/policyLag': Math.max(0, updates - actedAfter) });
        for (const [episodeReturn, length] of episodes) {
          if (episodeReturn === null) this.#failures += 1;
          else averages.add({ 'acting/return': episodeReturn, 'acting/length': length });
        }
      }
      this.#offset = inserted - (this.#taken + transitions);
      this.#lastSeen.set(actor, now);
    }
    this.#taken += transitions;
    this.#steps += steps;
    this.#lastArrival = now;
    if (this.#noticedSilenceMs > 0) notice('Transitions arrive again');
    this.#noticedSilenceMs = 0;
    for (const [actor, seen] of this.#lastSeen) if (now - seen > activeMs) this.#lastSeen.delete(actor);
    averages.add({ 'actors/active': this.#lastSeen.size });
    return steps;
  }

  #recordNothing(inserted: number, mayLearn: boolean): number {
    const { clock, notice } = this.#options;
    const missing = inserted - this.#offset - this.#taken;
    if (missing > 0) {
      notice(`${missing} transitions are missing: Redis has counted them but no longer has them`);
      this.#offset += missing;
    }
    const silentMs = clock() - this.#lastArrival;
    if (!mayLearn && silentMs >= Math.max(firstSilenceMs, 2 * this.#noticedSilenceMs)) {
      this.#noticedSilenceMs = silentMs;
      notice(
        `Waiting for actors: no transitions have arrived for ${Math.round(silentMs / 1000)} s. Start actors with: npx pmpo act CONFIG`,
      );
    }
    return 0;
  }

  /**
   * Environment steps in whole repetitions of actions, the unit in which learner and actors keep pace. A transition stands for one,
   * or for less at the end of an episode.
   */
  #repetitionsOf(environmentSteps: number): number {
    return Math.ceil(environmentSteps / this.shape.actionRepeat);
  }

  /** Actors verify what they can before they end: what they have sent cannot be taken back. */
  async verify(): Promise<void> {}

  updatesAllowed(environmentSteps: number): number {
    const { batchSize, environmentSteps: total } = this.#options.config.learner;
    const allowed = Math.floor(
      this.#limits.samplesAllowed(this.#repetitionsOf(environmentSteps)) / batchSize,
    );
    return Math.min(allowed, this.updatesDue(total));
  }

  updatesDue(environmentSteps: number): number {
    const { batchSize } = this.#options.config.learner;
    return Math.floor(this.#limits.samplesDue(this.#repetitionsOf(environmentSteps)) / batchSize);
  }

  totals(): Readonly<Record<string, number>> {
    return { 'acting/failures': this.#failures };
  }

  snapshot(): ExperienceSnapshot {
    this.#savingPosition = this.#position;
    const remote: StreamState = {
      token: this.#token,
      position: this.#position,
      ledger: this.#ledger.snapshot(),
      offset: this.#offset,
      failures: this.#failures,
      taken: this.#taken,
    };
    return {
      // There are no environments here, but TrainedPolicy.fromCheckpoint reads the observation size from this shape.
      tensors: {
        'acting/observations': { shape: [0, this.shape.observationSize], data: new Float32Array() },
      },
      counters: {},
      metadata: { remote },
    };
  }

  async saved(): Promise<void> {
    const { config, remote } = this.#options;
    this.#safePositions.push(this.#savingPosition);
    // Chunks since the oldest kept checkpoint stay, because a run resumes from it if newer ones are damaged.
    if (this.#safePositions.length > config.checkpoint.keep) this.#safePositions.shift();
    await ignoringAbort(() => remote.reader.trim(this.#safePositions[0]));
  }

  async end(): Promise<void> {
    await ignoringAbort(() => this.#options.remote.reader.finish());
  }

  close(): Promise<void> {
    return this.#options.remote.reader.close();
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
