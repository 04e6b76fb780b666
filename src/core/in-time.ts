import { PmpoError, type ProblemDetails, StoppedError } from './errors.js';

/** Who wants to know while a user's code or a service is waited for, and who may stop it. */
export interface WaitOptions {
  /** Aborted: the wait ends at once with a StoppedError. */
  readonly signal?: AbortSignal;
  /** Called once a second with what is waited for, and with undefined when the wait is over. */
  readonly onWait?: (waiting: string | undefined) => void;
}

/** The longest time of one call of a user's code, in seconds, if it does not say. */
export const defaultDeadlineSeconds = 300;

/** What is waited for, and for how long. */
export interface Deadline {
  /** Its name in messages: `feedback 'mine'`. */
  readonly where: string;
  readonly seconds: number;
  /** Makes the error after the deadline; a PmpoError by default. */
  readonly fault?: (details: ProblemDetails) => PmpoError;
}

/** The longest delay of a timer, in milliseconds. */
const longestTimer = 2 ** 31 - 1;

/**
 * What `work` resolves with, if it does in time. Its signal is aborted after the deadline and when the wait is stopped.
 * @throws PmpoError after the deadline, StoppedError as soon as the signal is aborted.
 */
export async function inTime<T>(
  { where, seconds: limit, fault = (details) => new PmpoError(details) }: Deadline,
  work: (signal: AbortSignal) => T | Promise<T>,
  { signal, onWait }: WaitOptions,
): Promise<T> {
  const ending = new AbortController();
  const done = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  let seconds = 0;
  const ended = new Promise<never>((_, reject) => {
    const end = (error: PmpoError) => {
      reject(error);
      ending.abort(error);
    };
    const what = `it has not answered within ${limit} s`;
    const remedy = 'Make it faster, or raise its deadlineSeconds';
    timers.push(setTimeout(() => end(fault({ where, what, remedy })), Math.min(longestTimer, limit * 1000)));
    const stop = () => end(new StoppedError({ where, what: 'the run was stopped' }));
    signal?.addEventListener('abort', stop, { signal: done.signal });
    if (signal?.aborted) stop();
  });
  timers.push(
    setInterval(() => {
      seconds += 1;
      onWait?.(`waiting for ${where} for ${seconds} s (at most ${limit} s)`);
    }, 1000),
  );
  try {
    // Nothing is started for a run that was stopped before.
    return await (ending.signal.aborted ? ended : Promise.race([ended, work(ending.signal)]));
  } finally {
    for (const timer of timers) clearTimeout(timer);
    done.abort();
    if (seconds > 0) onWait?.(undefined);
  }
}
