import type { RedisConnection, RedisReply } from './connection.js';
import type { RunKeys } from './keys.js';
import { appendChunk, readStatus } from './scripts.js';

/** The actor's side of a run in Redis: chunks of transitions go in, the run's state and its policy come out. */

export interface RunStatus {
  /** Of the learner's run: another one means that everything begins anew. */
  readonly token: string;
  /** What actors must agree on with the learner; see contract.ts. */
  readonly contract: string;
  /** Transitions stored so far, by all actors. */
  readonly inserted: number;
  readonly finished: boolean;
  /** Counts the policies published. 0: none yet. */
  readonly revision: number;
  readonly hasLearner: boolean;
}

export interface PublishedPolicy {
  readonly revision: number;
  /** Updates that it has been through. */
  readonly updates: number;
  readonly bytes: Buffer;
}

/** Transitions on their way to Redis. */
export interface Chunk {
  readonly count: number;
  /** Updates of the policy that acted. */
  readonly updates: number;
  /** Return and length of each episode that ended meanwhile. */
  readonly episodes: readonly (readonly [number, number])[];
  /** See packing.ts. */
  readonly rows: Buffer;
}

/** `wait`: the learner has to catch up first. `gone`: Redis holds another run, or none. */
export type Stored = 'stored' | 'wait' | 'finished' | 'gone';

/** The run in Redis as it is now; undefined while there is none. */
export async function runStatus(connection: RedisConnection, keys: RunKeys): Promise<RunStatus | undefined> {
  const reply = await connection.script(readStatus, [keys.run, keys.learner], []);
  const [token, contract, inserted, finished, revision, hasLearner] = reply;
  if (token === null) return undefined;
  return {
    token: String(token),
    contract: String(contract),
    inserted: Number(inserted),
    finished: String(finished) === '1',
    revision: Number(revision),
    hasLearner: hasLearner === 1,
  };
}

/** The newest policy; undefined while there is none. */
export async function newestPolicy(
  connection: RedisConnection,
  keys: RunKeys,
): Promise<PublishedPolicy | undefined> {
  const [revision, updates, bytes] = (await connection.command([
    'HMGET',
    keys.policy,
    'revision',
    'updates',
    'bytes',
  ])) as readonly RedisReply[];
  if (!(bytes instanceof Buffer)) return undefined;
  return { revision: Number(revision), updates: Number(updates), bytes };
}

/** Chunks kept after Redis has confirmed them: a Redis that starts again may have forgotten its last second or two. */
const keptChunks = 64;

export interface ReplayWriterOptions {
  readonly connection: RedisConnection;
  readonly keys: RunKeys;
  readonly token: string;
  /** Of this process alone, and of this time that it runs. */
  readonly actor: string;
  readonly notice: (message: string) => void;
}

/**
 * Stores chunks, each exactly once: they are numbered, Redis keeps the number of the last one beside it in the same
 * atomic step, and ignores a number that it has.
 */
export class ReplayWriter {
  readonly #o: ReplayWriterOptions;
  /** The last confirmed chunks, up to number `#sequence`. */
  #kept: Chunk[] = [];
  #sequence = 0;
  #inserted = 0;
  #stored = 0;
  /** The last forgetting that was spoken of: the number of the chunk that was to follow. */
  #spokenOf = 0;

  constructor(options: ReplayWriterOptions) {
    this.#o = options;
  }

  /** As it stands in Redis. */
  get actor(): string {
    return this.#o.actor;
  }

  /** Number of the last chunk that Redis has confirmed. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Transitions that Redis has confirmed to this actor. */
  get stored(): number {
    return this.#stored;
  }

  /** Transitions of all actors, when Redis last said. */
  get inserted(): number {
    return this.#inserted;
  }

  /** Stores a chunk, or says why not; `wait` means that the same chunk is to be offered again. Waits while Redis is away. */
  async append(chunk: Chunk): Promise<Stored> {
    let acceptGap = false;
    for (;;) {
      const reply = await this.#send(chunk, this.#sequence + 1, acceptGap);
      if (reply.state !== 'gap') {
        this.#inserted = reply.number;
        if (reply.state === 'stored') this.#confirm(chunk);
        return reply.state;
      }
      const repaired = await this.#repair(reply.number);
      if (repaired === 'stored') continue;
      if (repaired !== 'gap') return repaired;
      acceptGap = true;
    }
  }

  async #send(chunk: Chunk, sequence: number, acceptGap: boolean) {
    const { connection, keys, token, actor } = this.#o;
    const [state, number] = await connection.script(
      appendChunk,
      [keys.run, keys.transitions, keys.actors],
      [
        token,
        actor,
        sequence,
        chunk.count,
        chunk.updates,
        JSON.stringify(chunk.episodes),
        chunk.rows,
        acceptGap ? '1' : '0',
      ],
    );
    return { state: String(state) as Stored | 'gap', number: Number(number) };
  }

  #confirm(chunk: Chunk): void {
    this.#sequence += 1;
    this.#stored += chunk.count;
    this.#kept.push(chunk);
    if (this.#kept.length > keptChunks) this.#kept.shift();
  }

  /** Sends again what Redis confirmed and then forgot. `gap`: it forgot more than is kept here. */
  async #repair(last: number): Promise<Stored | 'gap'> {
    const forgotten = this.#sequence - last;
    const again = this.#kept.slice(-forgotten);
    const missing = forgotten - again.length;
    // Tried again and again while the learner lets nothing in; said once.
    if (this.#spokenOf !== this.#sequence) {
      this.#o.notice(
        missing > 0
          ? `Redis has forgotten ${missing} chunks of transitions that it had confirmed, beyond what can be sent again. It was restarted without what it held: run it with 'appendonly yes'`
          : `Redis has forgotten ${forgotten} chunks that it had confirmed; sending them again`,
      );
    }
    this.#spokenOf = this.#sequence;
    for (const [i, chunk] of again.entries()) {
      const sequence = last + missing + i + 1;
      const { state } = await this.#send(chunk, sequence, missing > 0);
      // What still has to wait is asked for again by the next chunk.
      if (state !== 'stored') return state;
    }
    return again.length === 0 ? 'gap' : 'stored';
  }
}
