import { PmpoError, StoppedError } from '../core/errors.js';
import { rangeRule } from './checked.js';
import type { ClassifierContext, HostClassifier, HostFeedback, HostFeedbackInput } from './classifier.js';

/**
 * A classifier of plain code may be a user's code or a service elsewhere: it has a deadline, the run can be stopped while it is
 * waited for, and what it returns is checked.
 */

/** The longest time that a call of a classifier may take, in seconds, if the classifier does not say. */
export const defaultDeadlineSeconds = 300;

/** A classifier of plain code failed. Nothing that is learned has changed by it. */
export class FeedbackError extends PmpoError {}

/** Who wants to know while a classifier is waited for, and who may stop it. */
export interface HostCallOptions {
  /** Aborted: the call ends at once with a StoppedError. */
  readonly signal?: AbortSignal;
  /** Called once a second with what is waited for, and with undefined when the wait is over. */
  readonly onWait?: (waiting: string | undefined) => void;
}

const placeOf = (name: string) => `feedback '${name}'`;

function fault(name: string, what: string, more: { remedy?: string; cause?: unknown } = {}): FeedbackError {
  return new FeedbackError({ where: placeOf(name), what, ...more });
}

/** The error of a call that threw; an error of a service keeps its own place and remedy. */
function failureOf(name: string, cause: unknown): PmpoError {
  if (cause instanceof StoppedError) return cause;
  if (!(cause instanceof PmpoError)) {
    return fault(name, `it threw: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  const { where, what, remedy } = cause.details;
  const place = where === undefined || where === placeOf(name) ? placeOf(name) : `${placeOf(name)}, ${where}`;
  return new FeedbackError({ where: place, what, remedy, cause });
}

/** The longest delay of a timer, in milliseconds. */
const longestTimer = 2 ** 31 - 1;

/** What `work` resolves with. @throws FeedbackError after the deadline, StoppedError as soon as the signal is aborted. */
async function inTime<T>(
  name: string,
  deadlineSeconds: number,
  work: (signal: AbortSignal) => T | Promise<T>,
  { signal, onWait }: HostCallOptions,
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
    const remedy = 'Make it faster, or raise its deadlineSeconds';
    timers.push(
      setTimeout(
        () => end(fault(name, `it has not answered within ${deadlineSeconds} s`, { remedy })),
        Math.min(longestTimer, deadlineSeconds * 1000),
      ),
    );
    const stop = () => end(new StoppedError({ where: placeOf(name), what: 'the run was stopped' }));
    signal?.addEventListener('abort', stop, { signal: done.signal });
    if (signal?.aborted) stop();
  });
  timers.push(
    setInterval(() => {
      seconds += 1;
      onWait?.(`waiting for ${placeOf(name)} for ${seconds} s (at most ${deadlineSeconds} s)`);
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

/**
 * Opens a classifier of plain code.
 * @throws FeedbackError naming the classifier if it cannot be opened in time, StoppedError if the run was stopped meanwhile.
 */
export async function openChecked(
  name: string,
  classifier: HostClassifier,
  context: ClassifierContext,
  options: HostCallOptions = {},
): Promise<void> {
  try {
    // Its own deadline is that of a batch; a model may take longer to load.
    const deadlineSeconds = Math.max(defaultDeadlineSeconds, classifier.deadlineSeconds ?? 0);
    await inTime(name, deadlineSeconds, () => classifier.open?.(context), options);
  } catch (cause) {
    throw failureOf(name, cause);
  }
}

/**
 * Runs a classifier of plain code and checks the weights that it returns.
 * @throws FeedbackError naming the classifier if it throws, does not answer in time, or returns another length, NaN, or a weight
 *   outside [0, 1]; StoppedError if the run was stopped meanwhile.
 */
export async function classifyOnHostChecked(
  name: string,
  classifier: HostClassifier,
  input: HostFeedbackInput,
  options: HostCallOptions = {},
): Promise<HostFeedback> {
  const { deadlineSeconds = defaultDeadlineSeconds } = classifier;
  let raw: HostFeedback;
  try {
    raw = await inTime(name, deadlineSeconds, (signal) => classifier.classifyOnHost(input, signal), options);
  } catch (cause) {
    throw failureOf(name, cause);
  }
  const size = input.samplesPerContext * input.contexts;
  const side = (key: 'accept' | 'reject'): Float32Array => {
    const given: unknown = raw?.[key];
    const weights = Array.isArray(given) ? Float32Array.from(given as number[]) : given;
    if (!(weights instanceof Float32Array) || weights.length !== size) {
      const length = (weights as { length?: number } | undefined)?.length;
      throw fault(
        name,
        `${key} has ${length ?? 'no'} weights. It must be a Float32Array of N × B = ${input.samplesPerContext} × ${input.contexts} = ${size}`,
      );
    }
    for (let i = 0; i < size; i++) {
      const weight = weights[i];
      if (input.mask[i] > 0 && !(weight >= 0 && weight <= 1)) {
        const place = `sample ${Math.floor(i / input.contexts)} of context ${i % input.contexts}`;
        throw fault(name, `${key} is ${weight} for ${place}; ${rangeRule}`);
      }
    }
    return weights;
  };
  return { accept: side('accept'), reject: side('reject') };
}
