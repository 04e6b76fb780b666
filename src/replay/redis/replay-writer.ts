import type { RedisConnection, RedisReply } from './connection.js';
import type { RunKeys } from './keys.js';
import { appendChunk, readStatus } from './scripts.js';

/** The state of a run in Redis. */
export interface RunStatus {
  /** Identifies the learner's run: if it changes, everything begins anew. */
  readonly token: string;
  /** The learner's settings that actors must share, as JSON; see learners/control/shared-settings.ts. */
  readonly settings: string;
  /** Transitions stored so far, by all actors. */
  readonly inserted: number;
  readonly finished: boolean;
  /** Number of policies published. */
  readonly revision: number;
  readonly hasLearner: boolean;
}

/** The policy that the learner has published last. */
export interface PublishedPolicy {
  readonly revision: number;
  /** Number of updates behind it. */
  readonly updates: number;
  readonly bytes: Buffer;
}

/** Transitions to be stored in Redis. */
export interface Chunk {
  readonly count: number;
  /** The environment steps that they stand for: fewer than whole repetitions of their actions where episodes have ended. */
  readonly steps: number;
  /** Updates behind the policy that acted. */
  readonly updates: number;
  /** Return and length of each episode that has ended in the meantime; the return is null if a failing simulator has ended it. */
  readonly episodes: readonly (readonly [number | null, number])[];
  /** The transitions; see packing.ts. */
  readonly rows: Buffer;
}

/** The outcome of offering a chunk. `wait`: the learner has to catch up first. `gone`: Redis holds another run. */
export type AppendOutcome = 'stored' | 'wait' | 'finished' | 'gone';

/** The current state of a run in Redis; undefined if there is none. */
export async function runStatus(connection: RedisConnection, keys: RunKeys): Promise<RunStatus | undefined> {
  const reply = await connection.script(readStatus, [keys.run, keys.learner], []);
  const [token, settings, inserted, finished, revision, hasLearner] = reply;
  if (token === null) return undefined;
  return {
    token: String(token),
    settings: String(settings),
    inserted: Number(inserted),
    finished: String(finished) === '1',
    revision: Number(revision),
    hasLearner: hasLearner === 1,
  };
}

/** The newest policy; undefined if there is none yet. */
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

/** Number of chunks kept after Redis has confirmed them, because a restarted Redis may have lost its last second or two. */
const keptChunks = 64;

export interface ReplayWriterOptions {
  readonly connection: RedisConnection;
  readonly keys: RunKeys;
  readonly token: string;
  /** A name that no other actor has or has had. */
  readonly actor: string;
  readonly notice: (message: string) => void;
}

/**
 * The actor's side of a run in Redis. Stores each chunk exactly once: chunks are numbered, Redis records the number in the same
 * atomic step in which it stores the chunk, and ignores a number that it already has.
 */
export class ReplayWriter {
  readonly #options: ReplayWriterOptions;
  /** The last confirmed chunks, up to number `#sequence`. */
  #kept: Chunk[] = [];
  #sequence = 0;
  #inserted = 0;
  #stored = 0;
  /** Value of `#sequence` at the last notice of forgotten chunks. */
  #noticedAt = 0;

  constructor(options: ReplayWriterOptions) {
    this.#options = options;
  }

  /** This actor's name in Redis. */
  get actor(): string {
    return this.#options.actor;
  }

  /** Number of the last chunk that Redis has confirmed. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Transitions that Redis has confirmed to this actor. */
  get stored(): number {
    return this.#stored;
  }

  /** Transitions of all actors, when Redis last reported it. */
  get inserted(): number {
    return this.#inserted;
  }

  /**
   * Offers a chunk. If the outcome is `wait`, offer the same chunk again later. Waits for as long as Redis is away.
   */
  async append(chunk: Chunk): Promise<AppendOutcome> {
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
    const { connection, keys, token, actor } = this.#options;
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
        chunk.steps,
      ],
    );
    return { state: String(state) as AppendOutcome | 'gap', number: Number(number) };
  }

  #confirm(chunk: Chunk): void {
    this.#sequence += 1;
    this.#stored += chunk.count;
    this.#kept.push(chunk);
    if (this.#kept.length > keptChunks) this.#kept.shift();
  }

  /** Sends again the chunks that Redis has confirmed and then forgotten. `gap`: it has forgotten more than are kept here. */
  async #repair(last: number): Promise<AppendOutcome | 'gap'> {
    const forgotten = this.#sequence - last;
    const again = this.#kept.slice(-forgotten);
    const missing = forgotten - again.length;
    // This is repeated for as long as the learner accepts nothing, but one notice is enough.
    if (this.#noticedAt !== this.#sequence) {
      this.#options.notice(
        missing > 0
          ? `Redis has lost ${missing} chunks of transitions that it had confirmed, more than can be sent again. It was restarted without its data: run it with 'appendonly yes'`
          : `Redis has lost ${forgotten} chunks that it had confirmed; sending them again`,
      );
    }
    this.#noticedAt = this.#sequence;
    for (const [i, chunk] of again.entries()) {
      const sequence = last + missing + i + 1;
      const { state } = await this.#send(chunk, sequence, missing > 0);
      // If this one has to wait, the next offer repairs the rest.
      if (state !== 'stored') return state;
    }
    return again.length === 0 ? 'gap' : 'stored';
  }
}
