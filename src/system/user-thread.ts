import { type MessagePort, Worker } from 'node:worker_threads';
import { ConfigError, PmpoError } from '../core/errors.js';

/**
 * Code that users write runs in a thread of its own: a function that computes for ever can then be ended at its deadline, and Ctrl-C is
 * heard meanwhile.
 */

/** A message to the thread: open what it holds, call it, close it, or abort the signal of the calls that it answers. */
type ThreadRequest =
  | { readonly id: number; readonly kind: 'open' | 'call' | 'close'; readonly input?: unknown }
  | { readonly kind: 'abort'; readonly message: string };

/** A message from the thread: the answer to a request, or a notice. */
type ThreadReply =
  | { readonly notice: string }
  | { readonly notice?: undefined; readonly id: number; readonly value?: unknown; readonly error?: Failure };

/** An error as it crosses the thread's border. */
interface Failure {
  readonly message: string;
  readonly isConfig?: boolean;
  readonly details?: { readonly what: string; readonly where?: string; readonly remedy?: string };
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof PmpoError))
    return { message: error instanceof Error ? error.message : String(error) };
  const { what, where, remedy } = error.details;
  return { message: error.message, isConfig: error instanceof ConfigError, details: { what, where, remedy } };
}

function errorOf({ message, isConfig, details }: Failure): Error {
  if (details === undefined) return new Error(message);
  return isConfig ? new ConfigError(details) : new PmpoError(details);
}

/** The time that a user's code has to close, in seconds. */
const closeSeconds = 5;

/** The time that it has to end after its signal was aborted, in seconds. */
const abortSeconds = 1;

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A thread that holds one object of a user's code, and starts with the first request. */
export class UserThread {
  readonly #entry: URL;
  readonly #data: unknown;
  readonly #notice: (message: string) => void;
  readonly #pending = new Map<number, Pending>();
  #requests = 0;
  #worker: Worker | undefined;
  /** Why the thread has ended, or was told to end, or what was thrown in it outside of a request. */
  #failure: Error | undefined;
  /** Whether the thread is there and may answer. */
  #listens = true;

  /**
   * @param entry the thread's module, which calls `answerRequests`
   * @param data its `workerData`
   * @param notice is called with the messages that the user's code has for a person
   */
  constructor(entry: URL, data: unknown, notice: (message: string) => void) {
    this.#entry = entry;
    this.#data = data;
    this.#notice = notice;
  }

  /**
   * Has the thread open or call its object.
   * @param signal aborted: the request is rejected at once, the user's code is told, and its thread ends soon after.
   */
  request(kind: 'open' | 'call', input?: unknown, signal?: AbortSignal): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    signal?.throwIfAborted();
    const answer = this.#post(kind, input);
    if (signal === undefined) return answer;
    const stop = () => this.#abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    return answer.finally(() => signal.removeEventListener('abort', stop));
  }

  /** Calls the object's own `close`, if the thread is there and answers, and ends the thread. */
  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    if (this.#listens) {
      const isIdle = this.#failure === undefined && this.#pending.size === 0;
      const seconds = isIdle ? closeSeconds : abortSeconds;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, seconds * 1000);
      });
      await Promise.race([late, this.#post('close').catch(() => {})]);
      // Otherwise the process would live until it fires.
      clearTimeout(timer);
    }
    await worker.terminate();
  }

  #abort(reason: unknown): void {
    const error = reason instanceof Error ? reason : new Error(String(reason));
    this.#worker?.postMessage({ kind: 'abort', message: error.message } satisfies ThreadRequest);
    this.#end(error);
    // Unless somebody closes it before.
    setTimeout(() => void this.#worker?.terminate(), 2 * abortSeconds * 1000).unref();
  }

  #end(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
    this.#worker?.unref();
  }

  #start(): Worker {
    const worker = new Worker(this.#entry, { workerData: this.#data });
    // They stay for as long as the thread: what is thrown between two requests must not end the run without a checkpoint.
    const gone = (error: Error) => {
      this.#listens = false;
      this.#end(error);
    };
    worker.on('error', gone);
    worker.on('exit', (code) => gone(new PmpoError({ what: `its thread ended with code ${code}` })));
    worker.on('message', (reply: ThreadReply) => {
      if (reply.notice !== undefined) return this.#notice(reply.notice);
      const { id, value, error } = reply;
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      // The thread keeps the process alive only while a request is pending.
      if (this.#pending.size === 0) worker.unref();
      if (error === undefined) pending?.resolve(value);
      else pending?.reject(errorOf(error));
    });
    return worker;
  }

  #post(kind: 'open' | 'call' | 'close', input?: unknown): Promise<unknown> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const id = this.#requests++;
    worker.ref();
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      worker.postMessage({ id, kind, input } satisfies ThreadRequest);
    });
  }
}

/** What a thread holds. */
export interface ThreadObject {
  /** The answer to `open`. */
  readonly traits?: unknown;
  call(input: unknown, signal: AbortSignal): Promise<unknown>;
  close?(): void | Promise<void>;
}

/** Runs in the thread: makes its object once, and answers requests. */
export function answerRequests(
  port: MessagePort,
  open: (notice: (message: string) => void, signal: AbortSignal) => Promise<ThreadObject>,
): void {
  const reply = (message: ThreadReply) => port.postMessage(message);
  const stopped = new AbortController();
  let object: Promise<ThreadObject> | undefined;
  const answer = async (request: Exclude<ThreadRequest, { readonly kind: 'abort' }>): Promise<unknown> => {
    if (request.kind === 'close') return (await object)?.close?.();
    object ??= open((notice) => reply({ notice }), stopped.signal);
    const { traits } = await object;
    return request.kind === 'open' ? traits : (await object).call(request.input, stopped.signal);
  };
  port.on('message', async (request: ThreadRequest) => {
    if (request.kind === 'abort') return stopped.abort(new Error(request.message));
    const { id } = request;
    try {
      reply({ id, value: await answer(request) });
    } catch (error) {
      reply({ id, error: failureOf(error) });
    }
  });
}
