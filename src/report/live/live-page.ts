import { Worker } from 'node:worker_threads';
import { workerEntry } from '../../core/worker-entry.js';
import type { LiveCommand } from './live-state.js';

/** The live page of a run that this process makes, from a worker thread: drawing it must not hold up the learner. */

/** What the worker is started with. */
export interface LiveWorkerData {
  readonly folder: string;
  readonly port: number;
}

/** What the worker tells. Asked for anything, it ends. */
export type LivePageMessage =
  | { readonly kind: 'serving'; readonly url: string }
  | { readonly kind: 'command'; readonly command: LiveCommand }
  | { readonly kind: 'failed'; readonly message: string };

/** What `startLivePage` needs. */
export interface LivePageOptions extends LiveWorkerData {
  readonly onCommand: (command: LiveCommand) => void;
  /** Receives the page's address. */
  readonly onUrl: (url: string) => void;
  /** Receives the reason when the page cannot be served, or no longer: the run goes on without it. */
  readonly onFailure: (message: string) => void;
}

/** A live page. */
export interface LivePage {
  /** The run is over: open pages get its last report, and the page is no longer served. Never fails. */
  close(): Promise<void>;
}

/** Milliseconds after which a worker that does not end is ended: more than the server waits for its pages. */
const longestFarewell = 20_000;

/** Starts to serve the page of a run, whose folder exists. */
export function startLivePage({ folder, port, onCommand, onUrl, onFailure }: LivePageOptions): LivePage {
  const worker = new Worker(workerEntry('./worker', import.meta.url), {
    workerData: { folder, port } satisfies LiveWorkerData,
  });
  let closing = false;
  worker.on('message', (message: LivePageMessage) => {
    if (message.kind === 'serving') onUrl(message.url);
    else if (message.kind === 'command') onCommand(message.command);
    else onFailure(message.message);
  });
  worker.on('error', (error: Error) => {
    if (!closing) onFailure(error.message);
  });
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  worker.unref();
  return {
    async close() {
      closing = true;
      worker.ref();
      worker.postMessage('end');
      const timer = setTimeout(() => void worker.terminate(), longestFarewell);
      await exited;
      clearTimeout(timer);
    },
  };
}
