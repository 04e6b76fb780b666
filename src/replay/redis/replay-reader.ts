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

/** The learner's side of a run in Redis: it holds the run's lock, reads chunks in their order, and publishes policies. */

export interface StoredChunk {
  /** Its place in the stream. */
  readonly id: string;
  readonly actor: string;
  readonly sequence: number;
  /** Transitions in it. */
  readonly count: number;
  /** Updates of the policy that acted. */
  readonly updates: number;
  /** Transitions in Redis with this chunk. */
  readonly inserted: number;
  /** Return and length of each episode that ended. */
  readonly episodes: readonly (readonly [number, number])[];
  /** See packing.ts. */
  readonly rows: Buffer;
}

export interface ReplayReaderOptions {
  readonly address: RedisAddress;
  /** The run's name in Redis. */
  readonly name: string;
  /** Who this learner is, as text that no other learner has. */
  readonly me: string;
  /** Whether a holder of the lock is known to have ended. */
  readonly isGone: (holder: string) => boolean;
  readonly describe: (holder: string) => string;
  /** Whether a run of this name that has not ended is in the way, so that nothing need be begun. */
  readonly refuseUnfinished: boolean;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface AttachOptions {
  /** Of this run alone. */
  readonly token: string;
  readonly contract: string;
  /** What a person knows the run by: its folder. */
  readonly label: string;
  /** Transitions that the learner has taken in: what a Redis without the run starts counting from. */
  readonly taken: number;
  /** Throw away a run of the same name that has not ended. */
  readonly discard: boolean;
}

const lockMs = 15_000;
const renewMs = 4_000;
/** How long a run that is done stays in Redis, for actors to see that it is. */
const keepFinishedSeconds = 24 * 3600;

export class ReplayReader {
  readonly #o: ReplayReaderOptions;
  readonly #keys: RunKeys;
  readonly #commands: RedisConnection;
  /** A read that waits holds up everything else on its connection. */
  readonly #reading: RedisConnection;
  readonly #where: string;
  #attached: AttachOptions | undefined;
  #published: { updates: number; bytes: Buffer } | undefined;
  #renewing: NodeJS.Timeout | undefined;
  #lost = false;

  private constructor(options: ReplayReaderOptions, commands: RedisConnection, reading: RedisConnection) {
    this.#o = options;
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
    const { isGone, describe, notice, signal } = this.#o;
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
        // Whatever is wrong, the next command says it.
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
      [this.#o.me, lockMs],
    );
    return mine === 1
      ? { mine: true }
      : { mine: false, holder: String(holder), millisecondsLeft: Number(left) };
  }

  async #release(holder: string): Promise<void> {
    await this.#commands.script(scripts.releaseLock, [this.#keys.learner], [holder]);
  }

  /** Says what in Redis's own settings could lose transitions. */
  async #checkServer(): Promise<void> {
    const info = String(await this.#commands.command(['INFO']).catch(() => ''));
    const value = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
    if (value('aof_enabled') === '0') {
      this.#o.notice(
        "Redis keeps no log on its disk: should it end, what it holds is lost. 'appendonly yes' in its configuration keeps one",
      );
    }
    const policy = value('maxmemory_policy');
    if (Number(value('maxmemory') ?? 0) > 0 && policy?.startsWith('allkeys') === true) {
      this.#o.notice(
        `Redis throws keys away when its memory is full (maxmemory-policy ${policy}), transitions too. 'noeviction' makes actors wait instead`,
      );
    }
  }

  /** Runs a script that only the holder of the lock may run. */
  async #owned(script: scripts.Script, keys: readonly string[], args: readonly (string | number | Buffer)[]) {
    // Redis may have been away for longer than the lock lasts: if nobody else took it, it is still ours.
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
      what: 'another learner has taken this run over',
      remedy: 'One learner feeds on a run; nothing that this one did since its last checkpoint counts',
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
      what: `Redis holds a run of this name that has not ended, with ${inserted} transitions (${label})`,
      remedy:
        'Go on with it (pmpo train --resume DIR), give this run another name (--name, or replay.name), or throw the other one away with --set replay.discard=true',
    });
  }

  /**
   * Begins the run in Redis, or goes on with it.
   * @returns `started` when Redis had nothing of it.
   * @throws PmpoError when a run of the same name is there that has not ended.
   */
  async attach(options: AttachOptions): Promise<'started' | 'resumed'> {
    const { run, transitions, actors, policy, learner } = this.#keys;
    const { token, contract, label, taken, discard } = options;
    const [state, other, inserted] = await this.#owned(
      scripts.attachLearner,
      [learner, run, transitions, actors, policy],
      [this.#o.me, token, contract, label, taken, discard ? '1' : '0'],
    );
    if (String(state) === 'unfinished') this.#refuse(String(other), Number(inserted));
    // Once it is there, nothing is ever thrown away again.
    this.#attached = { ...options, discard: false };
    return String(state) as 'started' | 'resumed';
  }

  /** Repeats `work` after Redis has lost the run, which is then begun again where the learner is. */
  async #withRun(taken: number, work: () => Promise<readonly RedisReply[]>): Promise<readonly RedisReply[]> {
    for (;;) {
      const reply = await work();
      if (String(reply[0]) !== 'gone') return reply;
      this.#o.notice('Redis no longer holds this run: it was emptied. Going on from what the learner has');
      await this.attach({ ...this.#attached!, taken });
      if (this.#published !== undefined) await this.publish(this.#published.updates, this.#published.bytes);
    }
  }

  /**
   * The next chunks after `position`, in order.
   * @param position the last chunk taken in; '0' for the beginning
   * @param waitMs how long to wait when there are none
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
    if (reply === null) return [];
    const [[, entries]] = reply as unknown as [[Buffer, [Buffer, Buffer[]][]]];
    return entries.map(([id, fields]) => toChunk(String(id), fields));
  }

  /** Says how many transitions may be inserted by now, and how many in all. */
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
        [this.#o.me, this.#attached!.token, allowed, limit],
      ),
    );
    return { chunks: Number(chunks), inserted: Number(inserted) };
  }

  /** Makes a policy the newest. @param updates that it has been through */
  async publish(updates: number, bytes: Buffer): Promise<void> {
    const { run, policy, learner } = this.#keys;
    this.#published = { updates, bytes };
    // A run that Redis lost is noticed by the next report, which publishes this one.
    await this.#owned(
      scripts.publishPolicy,
      [learner, run, policy],
      [this.#o.me, this.#attached!.token, updates, bytes],
    );
  }

  /** Drops the chunks up to `position`, which a checkpoint has safely. */
  async trim(position: string): Promise<void> {
    const [milliseconds, counter] = position.split('-');
    if (counter === undefined) return;
    const { transitions, learner } = this.#keys;
    await this.#owned(
      scripts.trimStream,
      [learner, transitions],
      [this.#o.me, `${milliseconds}-${BigInt(counter) + 1n}`],
    );
  }

  /** Marks the run as done: actors end. */
  async finish(): Promise<void> {
    const { run, transitions, actors, policy, learner } = this.#keys;
    await this.#owned(
      scripts.finishRun,
      [learner, run, transitions, actors, policy],
      [this.#o.me, this.#attached!.token, keepFinishedSeconds],
    );
  }

  /** Gives the lock back, where Redis can be asked to, and ends the connections. */
  async close(): Promise<void> {
    clearInterval(this.#renewing);
    await Promise.race([this.#release(this.#o.me).catch(() => {}), pause(2_000)]);
    this.#commands.close();
    this.#reading.close();
  }
}

function toChunk(id: string, fields: readonly Buffer[]): StoredChunk {
  const named = new Map<string, Buffer>();
  for (let i = 0; i < fields.length; i += 2) named.set(String(fields[i]), fields[i + 1]);
  const text = (name: string) => String(named.get(name) ?? '');
  const rows = named.get('rows');
  if (rows === undefined) {
    throw new PmpoError({
      where: `replay.redis, entry ${id}`,
      what: 'it is no chunk of transitions',
      remedy: 'Something else writes to this run’s keys; give the run another name (replay.name)',
    });
  }
  return {
    id,
    actor: text('actor'),
    sequence: Number(text('sequence')),
    count: Number(text('count')),
    updates: Number(text('updates')),
    inserted: Number(text('inserted')),
    episodes: JSON.parse(text('episodes')) as [number, number][],
    rows,
  };
}
