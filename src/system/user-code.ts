import { PmpoError } from '../core/errors.js';
import { defaultDeadlineSeconds, inTime } from '../core/in-time.js';
import { workerEntry } from '../core/worker-entry.js';
import { UserThread } from './user-thread.js';

/** What the thread of a user's code answers when it has opened it. */
export interface UserCodeTraits {
  /** The longest time of one call, in seconds; default: `defaultDeadlineSeconds`. */
  readonly deadlineSeconds?: number;
}

/** Who hears of a user's code, and who may stop it. */
export interface UserCodeContext {
  readonly notice: (message: string) => void;
  /** Told once a second what is waited for, and undefined when the wait is over. */
  readonly waiting?: (what: string | undefined) => void;
  /** Aborted when the run is stopped. */
  readonly signal?: AbortSignal;
}

/** A user's code in its thread. */
export interface UserCode<T extends UserCodeTraits> {
  readonly traits: T;
  /** Calls it. @throws PmpoError as the code does or after its deadline, StoppedError as soon as the signal is aborted. */
  call<R>(input: unknown, signal?: AbortSignal): Promise<R>;
  close(): Promise<void>;
}

/**
 * Opens what a user wrote in a thread of its own: it has a deadline, is told of while it is waited for, and ends with the run.
 * @param place its name in messages.
 * @param settings what `plugin-worker` opens.
 * @throws PmpoError as the code does when it is opened, or if that does not end in time.
 */
export async function openUserCode<T extends UserCodeTraits>(
  place: string,
  settings: object,
  { notice, waiting, signal: stopped }: UserCodeContext,
): Promise<UserCode<T>> {
  const thread = new UserThread(workerEntry('../plugin-worker', import.meta.url), settings, notice);
  const call = async <R>(seconds: number, kind: 'open' | 'call', input?: unknown, signal?: AbortSignal) => {
    const deadline = { where: place, seconds };
    const options = { signal, onWait: waiting };
    try {
      return (await inTime(deadline, (ending) => thread.request(kind, input, ending), options)) as R;
    } catch (cause) {
      if (cause instanceof PmpoError && cause.details.where !== undefined) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new PmpoError({ where: place, what: message, cause });
    }
  };
  try {
    const traits = await call<T>(defaultDeadlineSeconds, 'open', undefined, stopped);
    const seconds = traits.deadlineSeconds ?? defaultDeadlineSeconds;
    return {
      traits,
      call: (input, signal) => call(seconds, 'call', input, signal),
      close: () => thread.close(),
    };
  } catch (cause) {
    await thread.close();
    throw cause;
  }
}
