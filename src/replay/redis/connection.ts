import { createClient, ErrorReply, RESP_TYPES } from '@redis/client';
import { PmpoError } from '../../core/errors.js';
import type { Script } from './scripts.js';

/** A connection to Redis that outlives Redis: it comes back by itself, and commands wait for it and say so. */

export interface RedisAddress {
  /** `redis://[user@]host[:port][/database]`, or `rediss://…` for TLS. Never with a password in it. */
  readonly url: string;
  readonly password?: string;
  /** PEM texts, for rediss://; what is left out is the system's. */
  readonly tls?: {
    readonly ca?: string | Buffer;
    readonly cert?: string | Buffer;
    readonly key?: string | Buffer;
    readonly servername?: string;
  };
}

export interface RedisConnectionOptions {
  /** Told when Redis goes away and comes back. */
  readonly notice: (message: string) => void;
  /** Aborted: waiting for Redis ends. */
  readonly signal?: AbortSignal;
}

/** What Redis answers: bulk strings are bytes. */
export type RedisReply = Buffer | string | number | null | readonly RedisReply[];
export type RedisArgument = string | number | Buffer;

/** Thrown when waiting for Redis was ended by the signal: whoever aborted it knows why. */
export class RedisWaitAborted extends PmpoError {}

const connectTimeoutMs = 5_000;
/** Longer without a word, with pings in between, and the connection counts as lost. */
const silenceMs = 12_000;
const pingMs = 4_000;
const maxRetryMs = 2_000;
/** Between two notices that Redis is still away. */
const stillAwayMs = 60_000;

/** Answers that mean 'not now': Redis is starting, full, failing over, or cannot write its disk. */
const passing = /^(LOADING|BUSY|OOM|MISCONF|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS)\b/;
const refused = /^(WRONGPASS|NOAUTH|NOPERM)\b|invalid.*password|without any password configured/i;

const describe = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED') return 'nobody listens there';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the host is not known';
  return message || code || String(error);
};

export class RedisConnection {
  readonly #client: ReturnType<typeof createClient>;
  readonly #options: RedisConnectionOptions;
  readonly #where: string;
  #awaySince: number | undefined;
  #lastSaid = 0;
  #fatal: PmpoError | undefined;

  private constructor(address: RedisAddress, options: RedisConnectionOptions) {
    this.#options = options;
    this.#where = `replay.redis (${address.url})`;
    let wasReady = false;
    const reconnectStrategy = (retries: number, cause: Error): number | Error => {
      // Before the first success nobody waits: a wrong address or password is better known at once.
      if (!wasReady || (cause instanceof ErrorReply && refused.test(cause.message))) return cause;
      return Math.min(100 * 2 ** retries, maxRetryMs);
    };
    const socket = { connectTimeout: connectTimeoutMs, socketTimeout: silenceMs, reconnectStrategy };
    this.#client = createClient({
      url: address.url,
      password: address.password,
      RESP: 2,
      disableOfflineQueue: true,
      disableClientInfo: true,
      pingInterval: pingMs,
      socket: address.url.startsWith('rediss:') ? { ...socket, tls: true, ...address.tls } : socket,
    }) as ReturnType<typeof createClient>;
    this.#client.on('ready', () => {
      wasReady = true;
    });
    this.#client.on('error', (error: Error) => {
      if (error instanceof ErrorReply && refused.test(error.message)) this.#fatal = this.#problem(error);
    });
  }

  /** @throws PmpoError when nobody answers, the password is wrong, or TLS fails. */
  static async open(address: RedisAddress, options: RedisConnectionOptions): Promise<RedisConnection> {
    const connection = new RedisConnection(address, options);
    try {
      await connection.#client.connect();
    } catch (error) {
      connection.close();
      throw connection.#problem(error);
    }
    return connection;
  }

  #problem(error: unknown): PmpoError {
    const original = (error as { originalError?: unknown }).originalError ?? error;
    const what = describe(original);
    if (refused.test(what)) {
      return new PmpoError({
        where: this.#where,
        what: `Redis refuses the password or the user (${what})`,
        remedy:
          'Set replay.redisPassword: {environmentVariable: NAME} or {file: PATH} to where the right one is',
        cause: original,
      });
    }
    return new PmpoError({
      where: this.#where,
      what: `Redis cannot be reached: ${what}`,
      remedy: 'Start it there, or correct the address',
      cause: original,
    });
  }

  #isPassing(error: unknown): boolean {
    return !(error instanceof ErrorReply) || passing.test(error.message);
  }

  /** Says once that Redis is away, and again each minute. */
  #away(error: unknown): void {
    const now = Date.now();
    this.#awaySince ??= now;
    if (now - this.#lastSaid < stillAwayMs && this.#lastSaid >= this.#awaySince) return;
    const seconds = Math.round((now - this.#awaySince) / 1000);
    this.#lastSaid = now;
    this.#options.notice(
      `Redis does not answer (${describe(error)}); trying again${seconds > 0 ? `, for ${seconds} s now` : ''}`,
    );
  }

  #back(): void {
    if (this.#awaySince === undefined) return;
    this.#awaySince = undefined;
    this.#options.notice('Redis answers again');
  }

  /**
   * Sends a command that may be repeated: when the connection is lost, nobody knows whether it was carried out. Waits
   * for as long as Redis is away.
   * @throws RedisWaitAborted when the signal ends the wait; PmpoError for what waiting does not mend.
   */
  async command(args: readonly RedisArgument[]): Promise<RedisReply> {
    const { signal } = this.#options;
    const parts = args.map((arg) => (typeof arg === 'number' ? String(arg) : arg));
    for (let attempt = 0; ; attempt++) {
      if (this.#fatal !== undefined) throw this.#fatal;
      try {
        const reply = await this.#client.sendCommand<RedisReply>(parts, {
          typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer },
        });
        this.#back();
        return reply;
      } catch (error) {
        if (!this.#isPassing(error)) throw error;
        if (!this.#client.isOpen || signal?.aborted) {
          throw new RedisWaitAborted({ where: this.#where, what: describe(error), cause: error });
        }
        this.#away(error);
        await pause(Math.min(100 * 2 ** attempt, maxRetryMs), signal);
      }
    }
  }

  /** Runs a script; see `command`. Sends its text when Redis does not know it yet, or no longer. */
  async script(
    { source, sha1 }: Script,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<readonly RedisReply[]> {
    const rest = [keys.length, ...keys, ...args];
    try {
      return (await this.command(['EVALSHA', sha1, ...rest])) as readonly RedisReply[];
    } catch (error) {
      if (!(error instanceof ErrorReply) || !error.message.startsWith('NOSCRIPT')) throw error;
      return (await this.command(['EVAL', source, ...rest])) as readonly RedisReply[];
    }
  }

  /** Ends at once; commands under way are rejected. Harmless when called again. */
  close(): void {
    if (this.#client.isOpen) this.#client.destroy();
  }
}

/** Waits, until the signal is aborted at most. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    if (signal?.aborted) done();
    else signal?.addEventListener('abort', done, { once: true });
  });
}
