import { Worker } from 'node:worker_threads';
import { PmpoError } from '../core/errors.js';
import { workerEntry } from '../core/worker-entry.js';

/** The message that the worker thread sends when it listens. Any message to the worker makes it close. */
export interface WorkerMessage {
  readonly address: string;
}

/** A simulator server in this process. */
export interface EmbeddedServer {
  /** host:port on the loopback interface. */
  readonly address: string;
  /** Stops the server and its environments. @throws PmpoError if the server has crashed and `onCrash` was not given. */
  close(): Promise<void>;
}

/** Options of an embedded server. */
export interface EmbeddedServerOptions {
  /** Called once if the server crashes before it is closed. Without it, `close` throws the error. */
  readonly onCrash?: (error: PmpoError) => void;
  /** Another entry module of the worker thread, for tests. */
  readonly entry?: URL;
}

const defaultEntry = workerEntry('./worker', import.meta.url);

const crash = (what: string, cause?: unknown) =>
  new PmpoError({ what, where: 'embedded simulator server', cause });

/**
 * Starts a simulator server in a worker thread, so that simulation and learning run in parallel. It listens on a free port of
 * 127.0.0.1 and does not keep the process alive.
 *
 * @throws PmpoError if the worker fails before it listens.
 */
export async function startEmbeddedServer({
  onCrash,
  entry = defaultEntry,
}: EmbeddedServerOptions = {}): Promise<EmbeddedServer> {
  const worker = new Worker(entry);
  let stage: 'starting' | 'running' | 'closing' = 'starting';
  let reason: PmpoError | undefined;
  // A worker that throws emits `error` first, then `exit`.
  worker.once('error', (cause: Error) => {
    reason = crash(`it crashed: ${cause.message ?? cause}`, cause);
  });
  const ended = new Promise<PmpoError>((resolve) => {
    worker.once('exit', (code) => resolve(reason ?? crash(`it ended unexpectedly with code ${code}`)));
  });
  const address = await new Promise<string>((resolve, reject) => {
    worker.once('message', (message: WorkerMessage) => resolve(message.address));
    ended.then(reject);
  });
  stage = 'running';
  worker.unref();
  let unreported: PmpoError | undefined;
  const settled = ended.then((error) => {
    if (stage === 'running' && onCrash !== undefined) onCrash(error);
    else if (stage === 'running' || reason !== undefined) unreported = error;
  });
  return {
    address,
    async close() {
      if (stage === 'running') {
        stage = 'closing';
        worker.ref();
        worker.postMessage('close');
      }
      await settled;
      if (unreported !== undefined) throw unreported;
    },
  };
}
