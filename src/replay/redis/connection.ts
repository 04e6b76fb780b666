import { PmpoError } from '../../core/errors.js';
import type { Script } from './scripts.js';

/** A connection to Redis that survives restarts of Redis: it reconnects by itself, and commands wait until it has. The user is notified. */

/** The library, which is loaded when a connection is opened: it has hundreds of modules, and most programs do not use Redis. */
type RedisLibrary = typeof import('@redis/client');
type RedisClient = ReturnType<RedisLibrary['createClient']>;

/** The address and the credentials of a Redis. */
export interface RedisAddress {
  /** `redis://[user@]host[:port][/database]`, or `rediss://…` for TLS. It never contains a password. */
  readonly url: string;
  readonly password?: string;
  /** PEM texts, for rediss://; the system's certificates apply where one is absent. */
  readonly tls?: {
    readonly ca?: string | Buffer;
    readonly cert?: string | Buffer;
    readonly key?: string | Buffer;
    readonly servername?: string;
  };
}

/** How a connection reports, and how it ends. */
export interface RedisConnectionOptions {
  /** Receives a message when Redis stops answering and when it answers again. */
  readonly notice: (message: string) => void;
  /** When aborted, waiting for Redis ends. */
  readonly signal?: AbortSignal;
}

/** A reply of Redis. Bulk strings arrive as bytes. */
export type RedisReply = Buffer | string | number | null | readonly RedisReply[];
export type RedisArgument = string | number | Buffer;

/** Thrown when the signal has ended a wait for Redis. The caller has aborted the signal and knows why. */
export class RedisWaitAborted extends PmpoError {}

const connectTimeoutMs = 5_000;
/** Silence, in spite of pings, after which the connection counts as lost. */
const silenceMs = 12_000;
const pingMs = 4_000;
const maxRetryMs = 2_000;
/** Time between two notices that Redis still does not answer. */
const repeatNoticeMs = 60_000;

/** Transient errors: Redis is starting, full, failing over, or cannot write to its disk. */
const temporary = /^(LOADING|BUSY|OOM|MISCONF|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS)\b/;
const refused = /^(WRONGPASS|NOAUTH|NOPERM)\b|invalid.*password|without any password configured/i;

const describe = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED') return 'nothing listens there';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the host is unknown';
  return message || code || String(error);
};

/** A client of one Redis server. */
export class RedisConnection {
  readonly #library: RedisLibrary;
  readonly #client: RedisClient;
  readonly #options: RedisConnectionOptions;
  readonly #where: string;
  #awaySince: number | undefined;
  #lastNotice = 0;
  #fatal: PmpoError | undefined;

  private constructor(library: RedisLibrary, address: RedisAddress, options: RedisConnectionOptions) {
    const { createClient, ErrorReply } = library;
    this.#library = library;
    this.#options = options;
    this.#where = `replay.redis (${address.url})`;
    let wasReady = false;
    const reconnectStrategy = (retries: number, cause: Error): number | Error => {
      // The first connection is not retried, so that a wrong address or password is reported at once.
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
    }) as RedisClient;
    this.#client.on('ready', () => {
      wasReady = true;
    });
    this.#client.on('error', (error: Error) => {
      if (error instanceof ErrorReply && refused.test(error.message)) this.#fatal = this.#problem(error);
    });
  }

  /** @throws PmpoError when nothing answers, the password is wrong, or TLS fails. */
  static async open(address: RedisAddress, options: RedisConnectionOptions): Promise<RedisConnection> {
    const connection = new RedisConnection(await import('@redis/client'), address, options);
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
          'Set replay.redisPassword: {environmentVariable: NAME} or {file: PATH} to where the right password is',
        cause: original,
      });
    }
    return new PmpoError({
      where: this.#where,
      what: `Redis cannot be reached: ${what}`,
      remedy: 'Start Redis there, or correct the address',
      cause: original,
    });
  }

  #isTemporary(error: unknown): boolean {
    return !(error instanceof this.#library.ErrorReply) || temporary.test(error.message);
  }

  /** Reports that Redis does not answer: at once, and then every minute. */
  #noticeAway(error: unknown): void {
    const now = Date.now();
    this.#awaySince ??= now;
    if (now - this.#lastNotice < repeatNoticeMs && this.#lastNotice >= this.#awaySince) return;
    const seconds = Math.round((now - this.#awaySince) / 1000);
    this.#lastNotice = now;
    this.#options.notice(
      `Redis does not answer (${describe(error)}); trying again${seconds > 0 ? `, for ${seconds} s now` : ''}`,
    );
  }

  #noticeBack(): void {
    if (this.#awaySince === undefined) return;
    this.#awaySince = undefined;
    this.#options.notice('Redis answers again');
  }

  /**
   * Sends a command, and sends it again if the connection was lost, in which case Redis may have carried it out already: it must
   * be idempotent. Waits for as long as Redis does not answer.
   * @throws RedisWaitAborted when the signal ends the wait, and PmpoError for errors that are not transient.
   */
  async command(args: readonly RedisArgument[]): Promise<RedisReply> {
    const { signal } = this.#options;
    const parts = args.map((arg) => (typeof arg === 'number' ? String(arg) : arg));
    for (let attempt = 0; ; attempt++) {
      if (this.#fatal !== undefined) throw this.#fatal;
      try {
        const reply = await this.#client.sendCommand<RedisReply>(parts, {
          typeMapping: { [this.#library.RESP_TYPES.BLOB_STRING]: Buffer },
        });
        this.#noticeBack();
        return reply;
      } catch (error) {
        if (!this.#isTemporary(error)) throw error;
        if (!this.#client.isOpen || signal?.aborted) {
          throw new RedisWaitAborted({ where: this.#where, what: describe(error), cause: error });
        }
        this.#noticeAway(error);
        await pause(Math.min(100 * 2 ** attempt, maxRetryMs), signal);
      }
    }
  }

  /** Runs a script; see `command`. Sends its text when Redis does not have it, or no longer. */
  async script(
    { source, sha1 }: Script,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<readonly RedisReply[]> {
    const rest = [keys.length, ...keys, ...args];
    try {
      return (await this.command(['EVALSHA', sha1, ...rest])) as readonly RedisReply[];
    } catch (error) {
      if (!(error instanceof this.#library.ErrorReply) || !error.message.startsWith('NOSCRIPT')) throw error;
      return (await this.command(['EVAL', source, ...rest])) as readonly RedisReply[];
    }
  }

  /** Closes at once; pending commands are rejected. May be called again. */
  close(): void {
    if (this.#client.isOpen) this.#client.destroy();
  }
}

/** Resolves after a time, or as soon as the signal is aborted. */
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
