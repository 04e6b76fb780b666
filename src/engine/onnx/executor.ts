import { Worker } from 'node:worker_threads';
import { PmpoError } from '../../core/errors.js';
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

const sourceSuffix = '.ts';
const workerEntry = new URL(
  import.meta.url.endsWith(sourceSuffix) ? './session-worker-from-source.mjs' : './session-worker.js',
  import.meta.url,
);

function disposedOf(): PmpoError {
  return new PmpoError({ where: 'engine onnx', what: 'was disposed of' });
}

interface Pending {
  resolve(arrays: readonly Numbers[]): void;
  reject(error: Error): void;
}

/** A thread of its own that runs graphs and holds the variables. Started by the first request. */
class SessionThread {
  readonly #settings: SessionSettings;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #sequence = 0;
  #closed = false;

  constructor(settings: SessionSettings) {
    this.#settings = settings;
  }

  /** Requests are carried out in the order made. `transfer` names arrays that the caller gives away. */
  async request(request: Request, transfer: readonly Numbers[] = []): Promise<readonly Numbers[]> {
    if (this.#closed) throw disposedOf();
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const sequence = this.#sequence++;
    // The thread keeps the process alive only while somebody waits for it.
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
    const worker = new Worker(workerEntry, { workerData: this.#settings });
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
 * Decides where programs run. The variables live in a thread of their own, which carries out everything that changes
 * them, and what is long, in the order asked for. Short programs that only read run here, without waiting for what the
 * thread is doing, on copies of the variables that are fetched when they have changed. A program therefore waits exactly
 * for the earlier ones that change a variable it reads.
 */
export class Executor {
  readonly #thread: SessionThread;
  readonly #local: SessionRunner;
  readonly #localPrograms = new Set<number>();
  readonly #loading = new Map<number, Promise<unknown>>();
  readonly #programs = new Map<number, Program>();
  /** How often each variable has changed, counting what is under way. */
  readonly #versions: number[] = [];
  readonly #types: TensorType[] = [];
  readonly #copies = new Map<number, Copy>();
  readonly #held = new Map<number, Numbers>();
  #localTurn: Promise<unknown> = Promise.resolve();
  /** Runs here that are not over, for what must come after them. */
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

  /** Makes a program ready; `isShort` says that it is worth running here when it only reads. */
  load(program: Program, isShort: boolean): void {
    this.#programs.set(program.id, program);
    const request: Request = { kind: 'load', program };
    const isLocal = isShort && changedVariables(program).length === 0;
    if (isLocal) this.#localPrograms.add(program.id);
    const loading = isLocal ? this.#inTurn(() => this.#local.handle(request)) : this.#thread.request(request);
    // Whoever runs the program gets the error.
    loading.catch(() => {});
    this.#loading.set(program.id, loading);
  }

  /** @param inputs arrays that the caller gives away. @throws PmpoError with ONNX Runtime's words when the run fails. */
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
      const words = cause instanceof Error ? cause.message : String(cause);
      throw new PmpoError({
        where: `function '${program.name}'`,
        what: `ONNX Runtime failed: ${words}`,
        cause,
      });
    }
  }

  /** Sets a variable to an array that the caller gives away. */
  async write(variable: number, data: Numbers): Promise<void> {
    this.#versions[variable]! += 1;
    this.#copies.set(variable, { version: this.#versions[variable]!, data: Promise.resolve(data.slice()) });
    await this.#thread.request({ kind: 'write', variable, type: this.#types[variable]!, data }, [data]);
  }

  /** The variables' values after everything asked for so far. The arrays belong to the executor. */
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

  /** Ends when everything asked for has. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#localRuns);
    await this.#inTurn(() => this.#local.handle({ kind: 'close' }));
    await this.#thread.close();
  }

  async #runLocally(program: Program, request: Request): Promise<readonly Numbers[]> {
    const variables = program.reads.map((port) => port.variable);
    // The values are asked for now, so that changes asked for later are not seen.
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

  /** Local work is done one piece after another. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#localTurn.then(work);
    this.#localTurn = done.catch(() => {});
    return done;
  }
}
