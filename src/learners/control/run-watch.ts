import type { Config } from '../../config/schema.js';
import type { NamedHostTensors } from '../../engine/tensors.js';
import { pause, type RedisConnection, RedisWaitAborted } from '../../replay/redis/connection.js';
import type { RunKeys } from '../../replay/redis/keys.js';
import { newestPolicy, type RunStatus, runStatus } from '../../replay/redis/replay-writer.js';
import { checkContract } from './contract.js';
import type { ExperienceShape } from './experience.js';
import { unpackPolicy } from './published-policy.js';

export interface RunWatchOptions {
  readonly config: Config;
  readonly shape: ExperienceShape;
  readonly connection: RedisConnection;
  readonly keys: RunKeys;
  /** The run's name, for messages. */
  readonly run: string;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
  readonly clock: () => number;
}

export interface NewPolicy {
  readonly parameters: NamedHostTensors;
  readonly updates: number;
}

const lookEveryMs = 200;
/** A learner that starts again is away for a moment; after this a person should know. */
const firstAbsenceMs = 5_000;
/** Between two notices that it is still away. */
const stillAbsentMs = 60_000;

/** Keeps an eye on the run that an actor acts for: its learner, its end, and its newest policy. */
export class RunWatch {
  readonly #o: RunWatchOptions;
  #status: RunStatus | undefined;
  #token = '';
  #revision = 0;
  #policy: NewPolicy | undefined;
  #looking: Promise<void> | undefined;
  readonly #stopping = new AbortController();
  #failure: unknown;
  #gone = false;
  #absentSince: number | undefined;
  #absenceSaidAt: number | undefined;
  #heldBackSince: number | undefined;
  #lastInserted = 0;

  constructor(options: RunWatchOptions) {
    this.#o = options;
    options.signal?.addEventListener('abort', () => this.#stopping.abort(), { once: true });
  }

  get token(): string {
    return this.#token;
  }

  /** Transitions that all actors have stored. */
  get inserted(): number {
    return this.#status?.inserted ?? 0;
  }

  get finished(): boolean {
    return this.#status?.finished ?? false;
  }

  /** Why there is nothing more to do for the run that was joined. @throws what went wrong while looking. */
  get ended(): 'finished' | 'gone' | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#gone) return 'gone';
    return this.finished ? 'finished' : undefined;
  }

  /** A policy that has not been taken yet; undefined when there is none. */
  takePolicy(): NewPolicy | undefined {
    const policy = this.#policy;
    this.#policy = undefined;
    return policy;
  }

  /**
   * Waits for a run and its first policy, and looks after it from then on.
   * @returns false when there is nothing to act for: the run is done, or the actor is stopped.
   * @throws PmpoError when the learner's configuration is another.
   */
  async join(): Promise<boolean> {
    const { config, shape, signal } = this.#o;
    await this.#looking;
    this.#gone = false;
    this.#revision = 0;
    this.#token = '';
    for (;;) {
      if (signal?.aborted) return false;
      await this.#look();
      if (this.#status !== undefined) {
        if (this.#status.finished) return false;
        checkContract(this.#status.contract, config, shape);
        this.#token = this.#status.token;
        if (this.#policy !== undefined) break;
      }
      await pause(lookEveryMs, signal);
    }
    this.#looking = this.#keepLooking();
    return true;
  }

  async #keepLooking(): Promise<void> {
    const { signal } = this.#stopping;
    try {
      while (!this.#gone && !this.finished && !signal.aborted) {
        await pause(lookEveryMs, signal);
        if (!signal.aborted) await this.#look();
      }
    } catch (error) {
      if (!(error instanceof RedisWaitAborted)) this.#failure = error;
    }
  }

  async #look(): Promise<void> {
    const { connection, keys } = this.#o;
    const status = await runStatus(connection, keys);
    this.#sayAbsence(status);
    if (this.#token !== '' && status !== undefined && status.token !== this.#token) {
      this.#gone = true;
      return;
    }
    // A Redis that was emptied holds nothing until the learner has begun the same run in it again.
    if (status === undefined) return;
    this.#status = status;
    if (status.revision === this.#revision || status.revision === 0) return;
    const policy = await newestPolicy(connection, keys);
    if (policy === undefined) return;
    this.#revision = policy.revision;
    this.#policy = { parameters: unpackPolicy(policy.bytes), updates: policy.updates };
  }

  #sayAbsence(status: RunStatus | undefined): void {
    const { clock, notice, run } = this.#o;
    const now = clock();
    if (status?.hasLearner === true || status?.finished === true) {
      if (this.#absenceSaidAt !== undefined) notice('The learner is there');
      this.#absentSince = undefined;
      this.#absenceSaidAt = undefined;
      return;
    }
    this.#absentSince ??= now;
    const absent = now - this.#absentSince;
    if (absent < firstAbsenceMs) return;
    if (this.#absenceSaidAt !== undefined && now - this.#absenceSaidAt < stillAbsentMs) return;
    this.#absenceSaidAt = now;
    notice(
      `No learner of run '${run}' has been seen for ${Math.round(absent / 1000)} s; waiting for one. It is started with pmpo train, on the same Redis`,
    );
  }

  /** The learner lets nothing more in at present. Says so when that lasts. */
  heldBack(): void {
    const { clock, notice } = this.#o;
    const now = clock();
    if (this.#heldBackSince === undefined || this.inserted !== this.#lastInserted) {
      this.#heldBackSince = now;
      this.#lastInserted = this.inserted;
      return;
    }
    if (now - this.#heldBackSince < stillAbsentMs || this.#status?.hasLearner !== true) return;
    this.#heldBackSince = now;
    notice('The learner has let nothing in for a minute: it is evaluating, or slow. Waiting');
  }

  /** Ends looking. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#looking;
  }
}
