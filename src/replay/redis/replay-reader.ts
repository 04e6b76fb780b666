import { PmpoError } from '../../core/errors.js';
import {
  pause,
  type RedisAddress,
  RedisConnection,
  type RedisReply,
  RedisWaitAborted,
} from './connection.js';
import { type RunKeys, runKeys } from './keys.js';
import { acquireLock, type Claim } from './learner-lock.js';
import * as scripts from './scripts.js';

/** A chunk of transitions as Redis stores it. */
export interface StoredChunk {
  /** Its position in the stream. */
  readonly id: string;
  readonly actor: string;
  readonly sequence: number;
  /** Transitions in it. */
  readonly count: number;
  /** The environment steps that they stand for; undefined if an actor of an earlier version has sent it. */
  readonly steps: number | undefined;
  /** Updates behind the policy that acted. */
  readonly updates: number;
  /** Transitions that all actors have inserted up to and including this chunk. */
  readonly inserted: number;
  /** Return and length of each episode that has ended in the meantime; the return is null if a failing simulator has ended it. */
  readonly episodes: readonly (readonly [number | null, number])[];
  /** The transitions; see packing.ts. */
  readonly rows: Buffer;
}

/** What `ReplayReader` needs. */
export interface ReplayReaderOptions {
  readonly address: RedisAddress;
  /** The run's name in Redis. */
  readonly name: string;
  /** Identifies this learner among all others. */
  readonly me: string;
  /** Whether the process of a holder of the lock is known to have ended. */
  readonly isGone: (holder: string) => boolean;
  /** The holder of the lock in words. */
  readonly describe: (holder: string) => string;
  /** Whether to fail at once if Redis holds an unfinished run of this name. */
  readonly refuseUnfinished: boolean;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
}

/** The run that a learner attaches to. */
export interface AttachOptions {
  /** Identifies this run among all that have the same name. */
  readonly token: string;
  /** The settings that actors must share, as JSON; see learners/control/shared-settings.ts. */
  readonly settings: string;
  /** Describes this run to people: its folder. */
  readonly label: string;
  /** Transitions that the learner has recorded, from which Redis starts counting if it does not hold the run. */
  readonly taken: number;
  /** Whether to discard an unfinished run of the same name. */
  readonly discard: boolean;
}

const lockMs = 15_000;
const renewMs = 4_000;
/** Time that a finished run stays in Redis, so that actors can see that it is finished. */
const keepFinishedSeconds = 24 * 3600;

/** The learner's side of a run in Redis: holds the run's lock, reads chunks in their order, and publishes policies. */
export class ReplayReader {
  readonly #options: ReplayReaderOptions;
  readonly #keys: RunKeys;
  readonly #commands: RedisConnection;
  /** A separate connection for reads, because a read that waits blocks everything else on its connection. */
  readonly #reading: RedisConnection;
  readonly #where: string;
  #attached: AttachOptions | undefined;
  #published: { updates: number; bytes: Buffer } | undefined;
  #renewing: NodeJS.Timeout | undefined;
  #lost = false;

  private constructor(options: ReplayReaderOptions, commands: RedisConnection, reading: RedisConnection) {
    this.#options = options;
    this.#keys = runKeys(options.name);
    this.#commands = commands;
    this.#reading = reading;
    this.#where = `replay.redis, run '${options.name}'`;
  }

  /**
   * Connects, and takes the run's lock.
   * @throws PmpoError when Redis cannot be reached or another learner has the run.
   */
  static async open(options: ReplayReaderOptions): Promise<ReplayReader> {
    const { address, notice, signal } = options;
    const commands = await RedisConnection.open(address, { notice, signal });
    try {
      const reading = await RedisConnection.open(address, { notice: () => {}, signal });
      const reader = new ReplayReader(options, commands, reading);
      try {
        await reader.#lock();
        await reader.#checkServer();
        if (options.refuseUnfinished) await reader.#checkUnfinished();
        return reader;
      } catch (error) {
        await reader.close();
        throw error;
      }
    } catch (error) {
      commands.close();
      throw error;
    }
  }

  async #lock(): Promise<void> {
    const { isGone, describe, notice, signal } = this.#options;
    await acquireLock({
      claim: () => this.#claim(),
      release: (holder) => this.#release(holder),
      isGone,
      describe,
      notice,
      sleep: (milliseconds) => pause(milliseconds, signal),
      where: this.#where,
      signal,
    });
    let busy = false;
    this.#renewing = setInterval(() => {
      if (busy) return;
      busy = true;
      this.#claim()
        .then(({ mine }) => {
          this.#lost ||= !mine;
        })
        // The next command reports whatever is wrong.
        .catch(() => {})
        .finally(() => {
          busy = false;
        });
    }, renewMs);
    this.#renewing.unref();
  }

  async #claim(): Promise<Claim> {
    const [mine, holder, left] = await this.#commands.script(
      scripts.claimLock,
      [this.#keys.learner],
      [this.#options.me, lockMs],
    );
    return mine === 1
      ? { mine: true }
      : { mine: false, holder: String(holder), millisecondsLeft: Number(left) };
  }

  async #release(holder: string): Promise<void> {
    await this.#commands.script(scripts.releaseLock, [this.#keys.learner], [holder]);
  }

  /** Warns of settings of Redis with which it could lose transitions. */
  async #checkServer(): Promise<void> {
    const info = String(await this.#commands.command(['INFO']).catch(() => ''));
    const value = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
    if (value('aof_enabled') === '0') {
      this.#options.notice(
        "Redis keeps no log on its disk: if it ends, its data are lost. Set 'appendonly yes' in its configuration to keep a log",
      );
    }
    const policy = value('maxmemory_policy');
    if (Number(value('maxmemory') ?? 0) > 0 && policy?.startsWith('allkeys') === true) {
      this.#options.notice(
        `Redis evicts keys when its memory is full (maxmemory-policy ${policy}), transitions included. With 'noeviction' actors wait instead`,
      );
    }
  }

  /** Runs a script that only the holder of the lock may run. */
  async #owned(script: scripts.Script, keys: readonly string[], args: readonly (string | number | Buffer)[]) {
    // Redis may have been away for longer than the lock lasts: claim it again unless another learner has taken it.
    if (!this.#lost) {
      let reply = await this.#commands.script(script, keys, args);
      if (String(reply[0]) === 'lost' && (await this.#claim()).mine) {
        reply = await this.#commands.script(script, keys, args);
      }
      if (String(reply[0]) !== 'lost') return reply;
      this.#lost = true;
    }
    throw new PmpoError({
      where: this.#where,
      what: 'another learner has taken over this run',
      remedy: 'Keep only one of the two; the work of this learner since its last checkpoint is lost',
    });
  }

  async #checkUnfinished(): Promise<void> {
    const fields = ['token', 'finished', 'inserted', 'label'];
    const reply = await this.#commands.command(['HMGET', this.#keys.run, ...fields]);
    const [token, finished, inserted, label] = reply as readonly RedisReply[];
    if (token === null || String(finished) === '1' || Number(inserted) === 0) return;
    this.#refuse(String(label), Number(inserted));
  }

  #refuse(label: string, inserted: number): never {
    throw new PmpoError({
      where: this.#where,
      what: `Redis holds an unfinished run of this name, with ${inserted} transitions (${label})`,
      remedy:
        'Resume it (pmpo train --resume DIR), give this run another name (--name, or replay.name), or discard the other run with --set replay.discard=true',
    });
  }

  /**
   * Begins the run in Redis, or resumes it.
   * @returns `started` if Redis did not hold the run.
   * @throws PmpoError when Redis holds an unfinished run of the same name.
   */
  async attach(options: AttachOptions): Promise<'started' | 'resumed'> {
    const { run, transitions, actors, policy, learner } = this.#keys;
    const { token, settings, label, taken, discard } = options;
    const [state, other, inserted] = await this.#owned(
      scripts.attachLearner,
      [learner, run, transitions, actors, policy],
      [this.#options.me, token, settings, label, taken, discard ? '1' : '0'],
    );
    if (String(state) === 'unfinished') this.#refuse(String(other), Number(inserted));
    // Attaching again later must not discard anything.
    this.#attached = { ...options, discard: false };
    return String(state) as 'started' | 'resumed';
  }

  /** Repeats `work` if Redis has lost the run, after beginning the run again from the learner's state. */
  async #withRun(taken: number, work: () => Promise<readonly RedisReply[]>): Promise<readonly RedisReply[]> {
    for (;;) {
      const reply = await work();
      if (String(reply[0]) !== 'gone') return reply;
      this.#options.notice(
        'Redis no longer holds this run: it was emptied. Resuming from the state of the learner',
      );
      await this.attach({ ...this.#attached!, taken });
      if (this.#published !== undefined) await this.publish(this.#published.updates, this.#published.bytes);
    }
  }

  /**
   * The next chunks after `position`, in order.
   * @param position the last chunk recorded; '0' for the beginning.
   * @param waitMs time to wait if there are none.
   */
  async read(position: string, count: number, waitMs: number): Promise<StoredChunk[]> {
    let reply: RedisReply;
    try {
      const block = waitMs > 0 ? ['BLOCK', waitMs] : [];
      reply = await this.#reading.command([
        'XREAD',
        'COUNT',
        count,
        ...block,
        'STREAMS',
        this.#keys.transitions,
        position,
      ]);
    } catch (error) {
      if (error instanceof RedisWaitAborted) return [];
      throw error;
    }
    return streamEntries(reply).map(toChunk);
  }

  /**
   * Reports the learner's progress.
   * @param taken transitions recorded.
   * @param allowed transitions that actors may have inserted by now.
   * @param limit transitions that they may insert in the whole run.
   * @returns the chunks in the stream, and the transitions inserted so far.
   */
  async report(
    taken: number,
    allowed: number,
    limit: number,
  ): Promise<{ readonly chunks: number; readonly inserted: number }> {
    const { run, transitions, learner } = this.#keys;
    const [, chunks, inserted] = await this.#withRun(taken, () =>
      this.#owned(
        scripts.reportProgress,
        [learner, run, transitions],
        [this.#options.me, this.#attached!.token, allowed, limit],
      ),
    );
    return { chunks: Number(chunks), inserted: Number(inserted) };
  }

  /** Publishes a policy. @param updates number of updates behind it. */
  async publish(updates: number, bytes: Buffer): Promise<void> {
    const { run, policy, learner } = this.#keys;
    this.#published = { updates, bytes };
    // If Redis has lost the run, the next report notices and publishes this policy again.
    await this.#owned(
      scripts.publishPolicy,
      [learner, run, policy],
      [this.#options.me, this.#attached!.token, updates, bytes],
    );
  }

  /** Drops the chunks up to `position`, which a safe checkpoint includes. */
  async trim(position: string): Promise<void> {
    const [milliseconds, counter] = position.split('-');
    if (counter === undefined) return;
    const { transitions, learner } = this.#keys;
    await this.#owned(
      scripts.trimStream,
      [learner, transitions],
      [this.#options.me, `${milliseconds}-${BigInt(counter) + 1n}`],
    );
  }

  /** Marks the run as finished, so that actors end. */
  async finish(): Promise<void> {
    const { run, transitions, actors, policy, learner } = this.#keys;
    await this.#owned(
      scripts.finishRun,
      [learner, run, transitions, actors, policy],
      [this.#options.me, this.#attached!.token, keepFinishedSeconds],
    );
  }

  /** Releases the lock, if Redis answers, and closes the connections. */
  async close(): Promise<void> {
    clearInterval(this.#renewing);
    await Promise.race([this.#release(this.#options.me).catch(() => {}), pause(2_000)]);
    this.#commands.close();
    this.#reading.close();
  }
}

/** An entry of a stream in Redis. */
export interface StreamEntry {
  readonly id: string;
  readonly fields: ReadonlyMap<string, RedisReply>;
}

const listOf = (reply: RedisReply | undefined): readonly RedisReply[] => (Array.isArray(reply) ? reply : []);

/** The entries in the reply to an XREAD from one stream: `[[stream, [[id, [name, value, …]], …]]]`, or nil. */
export function streamEntries(reply: RedisReply): StreamEntry[] {
  const [stream] = listOf(reply);
  return listOf(listOf(stream)[1]).map((entry) => {
    const [id, pairs] = listOf(entry);
    const values = listOf(pairs);
    const names = values.filter((_, i) => i % 2 === 0);
    return { id: String(id), fields: new Map(names.map((name, i) => [String(name), values[2 * i + 1]])) };
  });
}

function toChunk({ id, fields }: StreamEntry): StoredChunk {
  const text = (name: string) => String(fields.get(name) ?? '');
  const rows = fields.get('rows');
  if (!(rows instanceof Buffer)) {
    throw new PmpoError({
      where: `replay.redis, entry ${id}`,
      what: 'it is not a chunk of transitions',
      remedy: 'Another program writes to the keys of this run; give the run another name (replay.name)',
    });
  }
  return {
    id,
    actor: text('actor'),
    sequence: Number(text('sequence')),
    count: Number(text('count')),
    steps: fields.has('steps') ? Number(text('steps')) : undefined,
    updates: Number(text('updates')),
    inserted: Number(text('inserted')),
    episodes: JSON.parse(text('episodes')) as [number | null, number][],
    rows,
  };
}
