import { Worker } from 'node:worker_threads';
import { PmpoError } from '../core/errors.js';
import { workerEntry } from '../core/worker-entry.js';
import type {
  ClassifierContext,
  HostClassifier,
  HostFeedback,
  HostFeedbackInput,
} from '../feedback/classifier.js';

/**
 * Classifiers of plain code that plugins register run in a thread of their own: one that computes for ever can then be ended at its
 * deadline, and Ctrl-C is heard meanwhile.
 */

/** The settings with which the thread creates its classifier. */
export interface PluginClassifierSettings {
  /** The plugin's file. */
  readonly plugin: string;
  /** The classifier's name and settings, and N. */
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly samples: number;
  /** Whether the plugin imports this program's own modules, or resolves them from its folder. */
  readonly ownModules: boolean;
}

/** A message to the thread: open the classifier, classify, or close it. */
export type PluginRequest =
  | { readonly kind: 'open' }
  | { readonly kind: 'close' }
  | { readonly kind: 'classify'; readonly input: HostFeedbackInput };

/** A message from the thread: the answer to the request, or a notice. */
export type PluginReply =
  | { readonly notice: string }
  | { readonly notice?: undefined; readonly feedback?: HostFeedback; readonly error?: PluginFailure };

/** An error as it crosses the thread's border. */
export interface PluginFailure {
  readonly message: string;
  readonly details?: { readonly what: string; readonly where?: string; readonly remedy?: string };
}

const pluginEntry = workerEntry('../plugin-worker', import.meta.url);

/** The time that a classifier has to close, in seconds. */
const graceSeconds = 5;

function errorOf({ message, details }: PluginFailure): Error {
  return details === undefined ? new Error(message) : new PmpoError(details);
}

/** A plugin's classifier in its thread, which starts with the first request. */
export class PluginClassifier implements HostClassifier {
  readonly provides: HostClassifier['provides'];
  readonly rejectShare: HostClassifier['rejectShare'];
  readonly deadlineSeconds: number | undefined;
  readonly #settings: PluginClassifierSettings;
  #notice: ClassifierContext['notice'] = () => {};
  #worker: Worker | undefined;
  #opening: Promise<unknown> | undefined;
  /** Why the thread has ended, or what was thrown in it outside of a request. */
  #failure: Error | undefined;
  /** Ends the pending request with an error. */
  #fail: ((error: Error) => void) | undefined;

  /** @param traits a classifier of the same settings in this thread, which never classifies. */
  constructor(traits: HostClassifier, settings: PluginClassifierSettings) {
    this.provides = traits.provides;
    this.rejectShare = traits.rejectShare;
    this.deadlineSeconds = traits.deadlineSeconds;
    this.#settings = settings;
  }

  async open({ notice }: ClassifierContext): Promise<void> {
    this.#notice = notice;
    await this.#open();
  }

  async classifyOnHost(input: HostFeedbackInput, signal: AbortSignal): Promise<HostFeedback> {
    const stop = () => void this.#worker?.terminate();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await this.#open();
      // A classifier may return nothing or something else: what crosses the border is checked like any other's.
      return (await this.#request({ kind: 'classify', input })) as HostFeedback;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Calls the classifier's own `close`, if the thread is there and has nothing else to do, and ends the thread. */
  async close(): Promise<void> {
    if (this.#worker === undefined) return;
    if (this.#fail === undefined && this.#failure === undefined) {
      const late = new Promise((resolve) => setTimeout(resolve, graceSeconds * 1000).unref());
      await Promise.race([late, this.#request({ kind: 'close' }).catch(() => {})]);
    }
    await this.#worker.terminate();
  }

  #open(): Promise<unknown> {
    this.#opening ??= this.#request({ kind: 'open' });
    return this.#opening;
  }

  #start(): Worker {
    const worker = new Worker(pluginEntry, { workerData: this.#settings });
    const end = (error: Error) => {
      this.#failure ??= error;
      this.#fail?.(this.#failure);
    };
    // They stay for as long as the thread: what a plugin throws between two requests must not end the run without a checkpoint.
    worker.on('error', end);
    worker.on('exit', (code) => end(new PmpoError({ what: `its thread ended with code ${code}` })));
    return worker;
  }

  /** One request at a time. */
  #request(request: PluginRequest): Promise<HostFeedback | undefined> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    // The thread keeps the process alive only while a request is pending.
    worker.ref();
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        worker.off('message', answered);
        this.#fail = undefined;
        worker.unref();
        finish();
      };
      const answered = (reply: PluginReply) => {
        if (reply.notice !== undefined) return this.#notice(reply.notice);
        const { error, feedback } = reply;
        settle(() => (error === undefined ? resolve(feedback) : reject(errorOf(error))));
      };
      this.#fail = (error) => settle(() => reject(error));
      worker.on('message', answered);
      worker.postMessage(request);
    });
  }
}
