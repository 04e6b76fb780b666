import { workerEntry } from '../core/worker-entry.js';
import type {
  ClassifierContext,
  HostClassifier,
  HostFeedback,
  HostFeedbackInput,
} from '../feedback/classifier.js';
import { UserThread } from '../system/user-thread.js';

/** The settings with which the thread creates its classifier. */
export interface PluginClassifierSettings {
  readonly kind: 'feedback';
  /** The plugin's file. */
  readonly plugin: string;
  /** The classifier's name and settings, and N. */
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly samples: number;
  /** Whether the plugin imports this program's own modules, or resolves them from its folder. */
  readonly ownModules: boolean;
}

/** A plugin's classifier of plain code in a thread of its own, which starts with the first request. */
export class PluginClassifier implements HostClassifier {
  readonly provides: HostClassifier['provides'];
  readonly rejectShare: HostClassifier['rejectShare'];
  readonly deadlineSeconds: number | undefined;
  readonly #thread: UserThread;
  #notice: ClassifierContext['notice'] = () => {};
  #opening: Promise<unknown> | undefined;

  /** @param traits a classifier of the same settings in this thread, which never classifies. */
  constructor(traits: HostClassifier, settings: PluginClassifierSettings) {
    this.provides = traits.provides;
    this.rejectShare = traits.rejectShare;
    this.deadlineSeconds = traits.deadlineSeconds;
    const entry = workerEntry('../plugin-worker', import.meta.url);
    this.#thread = new UserThread(entry, settings, (message) => this.#notice(message));
  }

  async open({ notice }: ClassifierContext): Promise<void> {
    this.#notice = notice;
    await this.#open();
  }

  async classifyOnHost(input: HostFeedbackInput, signal: AbortSignal): Promise<HostFeedback> {
    await this.#open();
    // A classifier may return nothing or something else: what crosses the border is checked like any other's.
    return (await this.#thread.request('call', input, signal)) as HostFeedback;
  }

  /** Calls the classifier's own `close`, if the thread answers, and ends the thread. */
  close(): Promise<void> {
    return this.#thread.close();
  }

  #open(): Promise<unknown> {
    this.#opening ??= this.#thread.request('open');
    return this.#opening;
  }
}
