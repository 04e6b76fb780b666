import { setMaxListeners } from 'node:events';
import { delayBefore, type ReconnectSettings, type Sleep, sleepFor } from '../core/backoff.js';
import { ConnectionLostError, PmpoError, StoppedError } from '../core/errors.js';
import { DeadlineError } from './call.js';
import { SecurityError } from './errors.js';
import type { Peer } from './peer.js';

/** The servers of a pool, and how to connect to them. */
export interface ServerPoolOptions<Server> {
  readonly addresses: readonly string[];
  /** The largest number of concurrent calls at one address; further calls wait. */
  readonly inFlight: number;
  readonly reconnect: ReconnectSettings;
  readonly peer: Peer;
  /** Connects to a server. @throws ConnectionLostError if another attempt may succeed. */
  readonly open: (address: string) => Promise<Server>;
  readonly close: (server: Server) => void;
  /** Checks on a server after a call has passed its deadline. If it rejects, the connection counts as lost. */
  readonly probe: (server: Server) => Promise<unknown>;
  readonly sleep?: Sleep;
  /** A clock in milliseconds. */
  readonly now?: () => number;
}

/** Work on a server. The signal is aborted when the result is no longer needed. */
type Work<Server, Result> = (server: Server, signal: AbortSignal) => Result;

/** A signal that is aborted with either of two others, which may outlive it; `release` removes the listeners. */
function either(
  first: AbortSignal | undefined,
  second: AbortSignal,
): { readonly signal: AbortSignal; release(): void } {
  const own = new AbortController();
  const abort = () => own.abort();
  for (const signal of [first, second]) {
    if (signal === undefined) continue;
    if (signal.aborted) abort();
    // Any number of calls may listen to it, which Node would otherwise report as a leak.
    setMaxListeners(0, signal);
    signal.addEventListener('abort', abort);
  }
  const release = () => {
    for (const signal of [first, second]) signal?.removeEventListener('abort', abort);
  };
  return { signal: own.signal, release };
}

/** The state of one address. */
interface Slot<Server> {
  readonly address: string;
  /** The number of concurrent calls. */
  busy: number;
  server?: Promise<Server>;
  /** Whether a call has succeeded on the current connection. */
  worked: boolean;
  /** Losses since the last success. */
  losses: number;
  /** The time until which other addresses are preferred. */
  restUntil: number;
}

/**
 * Equivalent servers at several addresses. A call goes to the server with the fewest concurrent calls; if all are at their limit,
 * calls wait in order. Work that is lost with a connection is repeated, on another server if possible, unless it has already
 * yielded a result.
 */
export class ServerPool<Server> {
  readonly #options: Required<ServerPoolOptions<Server>>;
  readonly #slots: readonly Slot<Server>[];
  readonly #waiting: { readonly take: (slot: Slot<Server>) => void }[] = [];
  readonly #closing = new AbortController();

  /** @throws PmpoError without an address, or for a limit below one call. */
  constructor(options: ServerPoolOptions<Server>) {
    const where = options.peer.configKey;
    if (options.addresses.length === 0) throw new PmpoError({ where, what: 'no address is given' });
    if (!(options.inFlight >= 1)) {
      throw new PmpoError({ where, what: `inFlight is ${options.inFlight}`, remedy: 'It must be 1 or more' });
    }
    this.#options = { sleep: sleepFor, now: () => performance.now(), ...options };
    this.#slots = options.addresses.map((address) => ({
      address,
      busy: 0,
      worked: false,
      losses: 0,
      restUntil: 0,
    }));
  }

  /** Connects to all servers. @throws the first error of `open`. */
  async connect(): Promise<readonly Server[]> {
    return Promise.all(this.#slots.map((slot) => this.#server(slot)));
  }

  /**
   * Does work on one server, and repeats it if the connection is lost.
   * @throws ConnectionLostError after the last attempt, StoppedError when aborted or closed, and any other error of `work`.
   */
  async run<T>(work: Work<Server, Promise<T>>, signal?: AbortSignal): Promise<T> {
    const stop = either(signal, this.#closing.signal);
    try {
      return await this.#run((server) => work(server, stop.signal), signal);
    } finally {
      stop.release();
    }
  }

  async #run<T>(work: (server: Server) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const slot = await this.#acquire(signal);
      try {
        const result = await work(await this.#server(slot));
        this.#succeeded(slot);
        return result;
      } catch (error) {
        await this.#failed(slot, error, attempt, false, signal);
      }
    }
  }

  /** Like `run` for work that yields results one by one. After the first result, it is not repeated. */
  async *stream<T>(
    work: Work<Server, AsyncIterable<T>>,
    signal?: AbortSignal,
  ): AsyncGenerator<T, void, undefined> {
    const stop = either(signal, this.#closing.signal);
    try {
      yield* this.#stream((server) => work(server, stop.signal), signal);
    } finally {
      stop.release();
    }
  }

  async *#stream<T>(
    work: (server: Server) => AsyncIterable<T>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<T, void, undefined> {
    for (let attempt = 0; ; attempt++) {
      const slot = await this.#acquire(signal);
      let hasYielded = false;
      let held = true;
      try {
        for await (const result of work(await this.#server(slot))) {
          hasYielded = true;
          yield result;
        }
        held = false;
        this.#succeeded(slot);
        return;
      } catch (error) {
        held = false;
        await this.#failed(slot, error, attempt, hasYielded, signal);
      } finally {
        // The caller has stopped iterating.
        if (held) this.#release(slot);
      }
    }
  }

  #server(slot: Slot<Server>): Promise<Server> {
    if (slot.server === undefined) {
      slot.worked = false;
      const opening = this.#options.open(slot.address);
      slot.server = opening;
      opening.catch(() => {
        if (slot.server === opening) slot.server = undefined;
      });
    }
    return slot.server;
  }

  /** The address for the next call: not resting, with the fewest calls. Undefined if all candidates are at their limit. */
  #choose(): Slot<Server> | undefined {
    const now = this.#options.now();
    const rested = this.#slots.filter(({ restUntil }) => restUntil <= now);
    const candidates = (rested.length > 0 ? rested : this.#slots).filter(
      ({ busy }) => busy < this.#options.inFlight,
    );
    return candidates.reduce<Slot<Server> | undefined>(
      (best, slot) => (best === undefined || slot.busy < best.busy ? slot : best),
      undefined,
    );
  }

  #acquire(signal: AbortSignal | undefined): Promise<Slot<Server>> {
    this.#checkOpen(signal);
    const chosen = this.#waiting.length === 0 ? this.#choose() : undefined;
    if (chosen !== undefined) {
      chosen.busy++;
      return Promise.resolve(chosen);
    }
    return new Promise((resolve, reject) => {
      const done = new AbortController();
      const waiter = {
        take: (slot: Slot<Server>) => {
          done.abort();
          resolve(slot);
        },
      };
      const stop = () => {
        done.abort();
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(this.#stopped());
      };
      for (const reason of [signal, this.#closing.signal]) {
        if (reason === undefined) continue;
        setMaxListeners(0, reason);
        reason.addEventListener('abort', stop, { signal: done.signal });
      }
      this.#waiting.push(waiter);
    });
  }

  #release(slot: Slot<Server>): void {
    slot.busy--;
    while (this.#waiting.length > 0) {
      const free = this.#choose();
      if (free === undefined) return;
      free.busy++;
      this.#waiting.shift()?.take(free);
    }
  }

  #succeeded(slot: Slot<Server>): void {
    slot.worked = true;
    slot.losses = 0;
    slot.restUntil = 0;
    this.#release(slot);
  }

  /** Returns when the work may be tried again. @throws the error if it may not. */
  async #failed(
    slot: Slot<Server>,
    error: unknown,
    attempt: number,
    hasYielded: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { reconnect, sleep, now } = this.#options;
    // The token may have been renewed since this connection was made. A new connection reads it again.
    const isOutdated = error instanceof SecurityError && slot.worked;
    const silent = error instanceof DeadlineError && (await this.#isSilent(slot));
    const lost = error instanceof ConnectionLostError || silent;
    if (lost) {
      slot.restUntil = now() + delayBefore(slot.losses, reconnect);
      slot.losses++;
    }
    if (lost || isOutdated) this.#drop(slot);
    this.#release(slot);
    if (hasYielded || !(lost || isOutdated)) throw error;
    this.#checkOpen(signal);
    if (isOutdated) return;
    const last = error as PmpoError;
    if (attempt >= reconnect.attempts) throw this.#gaveUp(last);
    const elsewhere = this.#slots.some(({ restUntil }) => restUntil <= now());
    if (!elsewhere) await sleep(delayBefore(attempt, reconnect), signal);
  }

  /** Whether a server that was too slow does not answer a probe either. */
  async #isSilent({ server }: Slot<Server>): Promise<boolean> {
    try {
      if (server !== undefined) await this.#options.probe(await server);
      return false;
    } catch {
      return true;
    }
  }

  #gaveUp(last: PmpoError): PmpoError {
    const { reconnect, peer } = this.#options;
    if (reconnect.attempts === 0) return last;
    return new ConnectionLostError({
      where: last.details.where,
      what: `${last.details.what} (${reconnect.attempts} more attempts failed too)`,
      remedy: `Start the server again, or raise ${peer.configKey}.reconnect.attempts`,
      cause: last,
    });
  }

  #drop(slot: Slot<Server>): void {
    const { server } = slot;
    slot.server = undefined;
    // Pending calls on it end by themselves.
    server?.then(this.#options.close, () => {});
  }

  #stopped(): StoppedError {
    const what = this.#closing.signal.aborted
      ? 'the client was closed'
      : 'the call was stopped while it waited';
    return new StoppedError({ where: this.#slots.map(({ address }) => address).join(', '), what });
  }

  #checkOpen(signal: AbortSignal | undefined): void {
    if (this.#closing.signal.aborted || signal?.aborted) throw this.#stopped();
  }

  /** Ends all connections. Waiting and pending calls fail. */
  close(): void {
    this.#closing.abort();
    for (const slot of this.#slots) this.#drop(slot);
  }
}
