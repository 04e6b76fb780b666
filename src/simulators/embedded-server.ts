import { Worker } from 'node:worker_threads';
import { PmpoError } from '../core/errors.js';

/** What the worker thread says, once, when it listens. Any answer asks it to close. */
export interface WorkerMessage {
  readonly address: string;
}

/** The simulator server of this very process. */
export interface EmbeddedServer {
  /** host:port on the loopback interface. */
  readonly address: string;
  /** Stops it, its worlds included. @throws PmpoError when it had crashed and nobody was told. */
  close(): Promise<void>;
}

export interface EmbeddedServerOptions {
  /** Called once if the server dies before it is closed. Without it, `close` throws the error. */
  readonly onCrash?: (error: PmpoError) => void;
  /** For tests: another entry of the worker thread. */
  readonly entry?: URL;
}

/** Built, the worker is worker.js; from source, a small module that loads TypeScript first. */
const builtEntry = new URL('./worker.js', import.meta.url);
const sourceEntry = new URL('./worker-from-source.mjs', import.meta.url);
const defaultEntry = import.meta.url.endsWith('.ts') ? sourceEntry : builtEntry;

const crash = (what: string, cause?: unknown) =>
  new PmpoError({ what, where: 'embedded simulator server', cause });

/**
 * Starts the simulator server in a worker thread, on a free port of 127.0.0.1, so that simulating does not hold up
 * learning. It never keeps the process alive by itself.
 *
 * @throws PmpoError when the worker fails before it listens.
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
    worker.once('exit', (code) => resolve(reason ?? crash(`it ended by itself with code ${code}`)));
  });
  const address = await new Promise<string>((resolve, reject) => {
    worker.once('message', (message: WorkerMessage) => resolve(message.address));
    ended.then(reject);
  });
  stage = 'running';
  worker.unref();
  let untold: PmpoError | undefined;
  const settled = ended.then((error) => {
    if (stage === 'running' && onCrash !== undefined) onCrash(error);
    else if (stage === 'running' || reason !== undefined) untold = error;
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
      if (untold !== undefined) throw untold;
    },
  };
}
