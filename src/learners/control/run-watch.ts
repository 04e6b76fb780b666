import type { NamedHostTensors } from '../../engine/tensors.js';
import { pause, type RedisConnection, RedisWaitAborted } from '../../replay/redis/connection.js';
import type { RunKeys } from '../../replay/redis/keys.js';
import { newestPolicy, type RunStatus, runStatus } from '../../replay/redis/replay-writer.js';
import { unpackPolicy } from './published-policy.js';
import { checkSharedSettings, type SharedSettingsSource } from './shared-settings.js';

/** What `RunWatch` needs. */
export interface RunWatchOptions {
  /** This actor's settings, which must agree with the learner's. */
  readonly settings: SharedSettingsSource;
  readonly connection: RedisConnection;
  readonly keys: RunKeys;
  /** The run's name, for messages. */
  readonly run: string;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
  /** Milliseconds from any starting point. */
  readonly clock: () => number;
}

/** A policy that the learner has published, with the number of updates behind it. */
export interface NewPolicy {
  readonly parameters: NamedHostTensors;
  readonly updates: number;
}

const pollEveryMs = 200;
/** The absence of a learner is reported after this time, because a learner that restarts is absent for a moment. */
const firstAbsenceMs = 5_000;
/** Time between two notices about the same condition. */
const repeatNoticeMs = 60_000;

/** Watches the run that an actor acts for: its learner, its end, and its newest policy. */
export class RunWatch {
  readonly #options: RunWatchOptions;
  #status: RunStatus | undefined;
  /** Identifies the run that was joined; empty before that. */
  #token = '';
  /** Revision of the newest policy that was fetched. */
  #revision = 0;
  #policy: NewPolicy | undefined;
  #polling: Promise<void> | undefined;
  readonly #stopping = new AbortController();
  /** What went wrong while polling. */
  #failure: unknown;
  /** Whether Redis holds another run of this name now. */
  #gone = false;
  #absentSince: number | undefined;
  #absenceNoticeAt: number | undefined;
  #heldBackSince: number | undefined;
  #lastInserted = 0;

  constructor(options: RunWatchOptions) {
    this.#options = options;
    const { signal } = this.#stopping;
    options.signal?.addEventListener('abort', () => this.#stopping.abort(), { signal });
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

  /** Why there is nothing more to do for the run that was joined. @throws the error with which polling failed. */
  get ended(): 'finished' | 'gone' | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#gone) return 'gone';
    return this.finished ? 'finished' : undefined;
  }

  /** The newest policy if it has not been taken yet. */
  takePolicy(): NewPolicy | undefined {
    const policy = this.#policy;
    this.#policy = undefined;
    return policy;
  }

  /**
   * Waits for a run and its first policy, and watches the run from then on.
   * @returns false if there is nothing to act for, because the run is finished or the actor is stopped.
   * @throws PmpoError when the learner has another configuration.
   */
  async join(): Promise<boolean> {
    const { settings, signal } = this.#options;
    await this.#polling;
    this.#gone = false;
    this.#revision = 0;
    this.#token = '';
    for (;;) {
      if (signal?.aborted) return false;
      await this.#poll();
      if (this.#status !== undefined) {
        if (this.#status.finished) return false;
        checkSharedSettings(this.#status.settings, settings);
        this.#token = this.#status.token;
        if (this.#policy !== undefined) break;
      }
      await pause(pollEveryMs, signal);
    }
    this.#polling = this.#keepPolling();
    return true;
  }

  async #keepPolling(): Promise<void> {
    const { signal } = this.#stopping;
    try {
      while (!this.#gone && !this.finished && !signal.aborted) {
        await pause(pollEveryMs, signal);
        if (!signal.aborted) await this.#poll();
      }
    } catch (error) {
      if (!(error instanceof RedisWaitAborted)) this.#failure = error;
    }
  }

  async #poll(): Promise<void> {
    const { connection, keys } = this.#options;
    const status = await runStatus(connection, keys);
    this.#noticeAbsence(status);
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

  #noticeAbsence(status: RunStatus | undefined): void {
    const { clock, notice, run } = this.#options;
    const now = clock();
    if (status?.hasLearner === true || status?.finished === true) {
      if (this.#absenceNoticeAt !== undefined) notice('The learner is there');
      this.#absentSince = undefined;
      this.#absenceNoticeAt = undefined;
      return;
    }
    this.#absentSince ??= now;
    const absent = now - this.#absentSince;
    if (absent < firstAbsenceMs) return;
    if (this.#absenceNoticeAt !== undefined && now - this.#absenceNoticeAt < repeatNoticeMs) return;
    this.#absenceNoticeAt = now;
    notice(
      `No learner of run '${run}' has been seen for ${Math.round(absent / 1000)} s; waiting for one. Start it with pmpo train, on the same Redis`,
    );
  }

  /** Call it when the learner accepts no transitions; it reports to the user if that lasts. */
  heldBack(): void {
    const { clock, notice } = this.#options;
    const now = clock();
    if (this.#heldBackSince === undefined || this.inserted !== this.#lastInserted) {
      this.#heldBackSince = now;
      this.#lastInserted = this.inserted;
      return;
    }
    if (now - this.#heldBackSince < repeatNoticeMs || this.#status?.hasLearner !== true) return;
    this.#heldBackSince = now;
    notice('The learner has accepted no transitions for a minute: it is evaluating, or slow. Waiting');
  }

  /** Stops watching. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#polling;
  }
}
