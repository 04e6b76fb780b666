import { Worker } from 'node:worker_threads';
import { PmpoError } from '../../core/errors.js';
import { workerEntry } from '../../core/worker-entry.js';
import {
  changedVariables,
  type Numbers,
  type Program,
  type Reply,
  type Request,
  type SessionSettings,
  type TensorType,
} from './program.js';
import { SessionRunner } from './session-runner.js';

const sessionEntry = workerEntry('./session-worker', import.meta.url);

function disposedOf(): PmpoError {
  return new PmpoError({ where: 'engine onnx', what: 'has been disposed of' });
}

interface Pending {
  resolve(arrays: readonly Numbers[]): void;
  reject(error: Error): void;
}

/** A worker thread that runs graphs and keeps the variables. The first request starts it. */
class SessionThread {
  readonly #settings: SessionSettings;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #sequence = 0;
  #closed = false;

  constructor(settings: SessionSettings) {
    this.#settings = settings;
  }

  /** Requests are handled in the order in which they are made. `transfer` lists the arrays whose ownership passes to the thread. */
  async request(request: Request, transfer: readonly Numbers[] = []): Promise<readonly Numbers[]> {
    if (this.#closed) throw disposedOf();
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const sequence = this.#sequence++;
    // The thread keeps the process alive only while a request is pending.
    if (this.#pending.size === 0) worker.ref();
    worker.postMessage(
      { sequence, request },
      transfer.map((array) => array.buffer as ArrayBuffer),
    );
    return new Promise((resolve, reject) => {
      this.#pending.set(sequence, { resolve, reject });
    });
  }

  async close(): Promise<void> {
    if (this.#worker === undefined || this.#closed) {
      this.#closed = true;
      return;
    }
    const closing = this.request({ kind: 'close' });
    this.#closed = true;
    await closing.catch(() => []);
    await this.#worker.terminate();
  }

  #start(): Worker {
    const worker = new Worker(sessionEntry, { workerData: this.#settings });
    worker.unref();
    worker.on('message', ({ sequence, arrays, error }: Reply) => {
      const pending = this.#pending.get(sequence)!;
      this.#pending.delete(sequence);
      if (this.#pending.size === 0) worker.unref();
      if (error === undefined) pending.resolve(arrays!);
      else pending.reject(new Error(error));
    });
    const fail = (cause: unknown): void => {
      const lost = [...this.#pending.values()];
      this.#pending.clear();
      for (const pending of lost) {
        pending.reject(
          new PmpoError({ where: 'engine onnx', what: `the thread that runs graphs ended: ${cause}`, cause }),
        );
      }
    };
    worker.on('error', fail);
    worker.on('exit', (code) => fail(`code ${code}`));
    return worker;
  }
}

interface Copy {
  readonly version: number;
  readonly data: Promise<Numbers>;
}

/**
 * Decides in which thread programs run. A worker thread keeps the variables; it runs all programs that change variables and all
 * long programs, in the order of the calls. Short programs that change no variable run in the calling thread, at the same time
 * as the worker's programs, on copies of the variables, which are updated when they have changed. A program therefore waits only
 * for earlier programs that change a variable it reads.
 */
export class Executor {
  readonly #thread: SessionThread;
  readonly #local: SessionRunner;
  readonly #localPrograms = new Set<number>();
  readonly #loading = new Map<number, Promise<unknown>>();
  readonly #programs = new Map<number, Program>();
  /** The number of changes of each variable, including those that are not finished. */
  readonly #versions: number[] = [];
  readonly #types: TensorType[] = [];
  readonly #copies = new Map<number, Copy>();
  readonly #held = new Map<number, Numbers>();
  #localTurn: Promise<unknown> = Promise.resolve();
  /** Unfinished runs in the calling thread; unloading and closing wait for them. */
  readonly #localRuns = new Set<Promise<unknown>>();
  #closed = false;

  constructor(settings: SessionSettings) {
    this.#thread = new SessionThread(settings);
    this.#local = new SessionRunner({ ...settings, threads: 1 });
  }

  addVariable(type: TensorType): number {
    this.#types.push(type);
    return this.#versions.push(0) - 1;
  }

  /** Loads a program. If `isShort` is true and the program changes no variable, it will run in the calling thread. */
  load(program: Program, isShort: boolean): void {
    this.#programs.set(program.id, program);
    const request: Request = { kind: 'load', program };
    const isLocal = isShort && changedVariables(program).length === 0;
    if (isLocal) this.#localPrograms.add(program.id);
    const loading = isLocal ? this.#inTurn(() => this.#local.handle(request)) : this.#thread.request(request);
    // The error reaches the caller of `run`.
    loading.catch(() => {});
    this.#loading.set(program.id, loading);
  }

  /**
   * @param inputs arrays that the caller no longer uses.
   * @throws PmpoError with ONNX Runtime's message when the run fails.
   */
  async run(id: number, inputs: readonly Numbers[]): Promise<readonly Numbers[]> {
    if (this.#closed) throw disposedOf();
    const program = this.#programs.get(id)!;
    const request: Request = { kind: 'run', program: id, inputs };
    try {
      if (this.#localPrograms.has(id)) {
        const running = this.#runLocally(program, request);
        this.#localRuns.add(running);
        return await running.finally(() => this.#localRuns.delete(running));
      }
      for (const variable of changedVariables(program)) this.#versions[variable]! += 1;
      const [result] = await Promise.all([this.#thread.request(request, inputs), this.#loading.get(id)]);
      return result;
    } catch (cause) {
      if (cause instanceof PmpoError) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new PmpoError({
        where: `function '${program.name}'`,
        what: `ONNX Runtime failed: ${message}`,
        cause,
      });
    }
  }

  /** Sets a variable to an array that the caller no longer uses. */
  async write(variable: number, data: Numbers): Promise<void> {
    this.#versions[variable]! += 1;
    this.#copies.set(variable, { version: this.#versions[variable]!, data: Promise.resolve(data.slice()) });
    await this.#thread.request({ kind: 'write', variable, type: this.#types[variable]!, data }, [data]);
  }

  /** The values of variables after all requests made so far. The caller must not change the arrays. */
  read(variables: readonly number[]): Promise<readonly Numbers[]> {
    const stale = variables.filter(
      (variable) => this.#copies.get(variable)?.version !== this.#versions[variable],
    );
    if (stale.length > 0) {
      const arrays = this.#thread.request({ kind: 'read', variables: stale });
      for (const [i, variable] of stale.entries()) {
        const data = arrays.then((all) => all[i]!);
        data.catch(() => {});
        this.#copies.set(variable, { version: this.#versions[variable]!, data });
      }
    }
    return Promise.all(variables.map((variable) => this.#copies.get(variable)!.data));
  }

  async unload(id: number): Promise<void> {
    const request: Request = { kind: 'unload', program: id };
    if (!this.#localPrograms.has(id)) {
      await this.#thread.request(request);
      return;
    }
    await Promise.allSettled(this.#localRuns);
    await this.#inTurn(() => this.#local.handle(request));
  }

  /** Waits for all requests made so far, then ends the thread. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#localRuns);
    await this.#inTurn(() => this.#local.handle({ kind: 'close' }));
    await this.#thread.close();
  }

  async #runLocally(program: Program, request: Request): Promise<readonly Numbers[]> {
    const variables = program.reads.map((port) => port.variable);
    // Requested now, so that later changes are not seen.
    const values = await this.read(variables);
    return this.#inTurn(async () => {
      await this.#loading.get(program.id);
      for (const [i, variable] of variables.entries()) {
        if (this.#held.get(variable) === values[i]) continue;
        this.#held.set(variable, values[i]!);
        await this.#local.handle({
          kind: 'write',
          variable,
          type: this.#types[variable]!,
          data: values[i]!,
        });
      }
      return this.#local.handle(request);
    });
  }

  /** Runs work of the calling thread one piece at a time. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#localTurn.then(work);
    this.#localTurn = done.catch(() => {});
    return done;
  }
}
