import { PmpoError, StoppedError } from '../core/errors.js';
import { type Deadline, defaultDeadlineSeconds, inTime, type WaitOptions } from '../core/in-time.js';
import { rangeRule } from './checked.js';
import type { ClassifierContext, HostClassifier, HostFeedback, HostFeedbackInput } from './classifier.js';

/**
 * A classifier of plain code may be a user's code or a service elsewhere: it has a deadline, the run can be stopped while it is
 * waited for, and what it returns is checked.
 */

/** A classifier of plain code failed. Nothing that is learned has changed by it. */
export class FeedbackError extends PmpoError {}

/** Who wants to know while a classifier is waited for, and who may stop it. */
export type HostCallOptions = WaitOptions;

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

/** The deadline of a call of a classifier. */
const deadlineOf = (name: string, seconds: number): Deadline => ({
  where: placeOf(name),
  seconds,
  fault: (details) => new FeedbackError(details),
});

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
    await inTime(deadlineOf(name, deadlineSeconds), () => classifier.open?.(context), options);
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
    raw = await inTime(
      deadlineOf(name, deadlineSeconds),
      (signal) => classifier.classifyOnHost(input, signal),
      options,
    );
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
