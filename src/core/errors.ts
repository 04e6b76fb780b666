import { foreignText } from './foreign-text.js';

/** Exit codes of the command-line program. */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

/** The parts of an error message, written as `where: what. remedy`. */
export interface ProblemDetails {
  /** The problem: one clause without a full stop. */
  readonly what: string;
  /** The place of the error: a file, a configuration key, an address, a plugin, a step. */
  readonly where?: string;
  /** The right form, or the next step to take: a sentence without a full stop. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** The longest part of a message. Lists of known names need about half of it. */
const longestPart = 3000;

/** The details as a terminal may show them: most parts of a message may hold names or words of a server or a file. */
function printable({ what, where, remedy, cause }: ProblemDetails, hasLines: boolean): ProblemDetails {
  const lineOf = (text: string) => foreignText(text, longestPart);
  const show = (text: string) => (hasLines ? text.split('\n').map(lineOf).join('\n') : lineOf(text));
  return {
    what: show(what),
    ...(where === undefined ? {} : { where: show(where) }),
    ...(remedy === undefined ? {} : { remedy: show(remedy) }),
    ...(cause === undefined ? {} : { cause }),
  };
}

/** The text with a full stop, unless it ends with a mark of its own. */
export const sentence = (text: string): string => (/[.?!…]$/.test(text) ? text : `${text}.`);

function compose({ what, where, remedy }: ProblemDetails): string {
  const place = where === undefined ? '' : `${where}: `;
  return remedy === undefined ? `${place}${what}` : `${place}${sentence(what)} ${remedy}`;
}

/**
 * The base class of all errors that users are meant to read. The command line prints the message without a stack trace and
 * exits with `exitCode`; any other error that reaches the command line is a bug and is printed with its stack trace.
 */
export class PmpoError extends Error {
  readonly exitCode: number = exitCodes.failed;
  readonly details: ProblemDetails;

  /** @param hasLines whether line breaks stay; otherwise the message is one line. */
  constructor(details: ProblemDetails, { hasLines = false }: { readonly hasLines?: boolean } = {}) {
    const shown = printable(details, hasLines);
    super(compose(shown), { cause: details.cause });
    this.name = new.target.name;
    this.details = shown;
  }
}

/** Wrong usage or a wrong configuration, found before anything starts; the program exits with 2. Each problem is a line. */
export class ConfigError extends PmpoError {
  override readonly exitCode = exitCodes.usage;

  constructor(details: ProblemDetails) {
    super(details, { hasLines: true });
  }
}

/** The phrase by which a study tells a run that diverged from one that failed. */
export const divergedPhrase = 'the parameters have diverged';

/**
 * The error for a number that is not finite because training diverged, and what can be done about it.
 * @param where the update, and the sample if there is one.
 * @param what the number and its value: `policy/loss is NaN`.
 */
export function divergedError(where: string, what: string): PmpoError {
  return new PmpoError({
    where,
    what: `${what}: ${divergedPhrase}`,
    remedy: 'Lower learner.learningRate, or hold the policy closer to its reference',
  });
}

/** The caller has stopped the work before its end. */
export class StoppedError extends PmpoError {}

/** A connection broke or cannot be made, and the request that it carried is lost. Another attempt may succeed. */
export class ConnectionLostError extends PmpoError {}

/**
 * A server has sent more answers than there were requests, or an answer of another kind, so that earlier answers may have been taken
 * for those of other requests. Nothing that came from it since it was last known to be in step can be trusted.
 */
export class OutOfStepError extends PmpoError {}

/**
 * A request was answered with an error, such as a step in which the simulator failed. The connection is intact, and another request
 * may succeed, unless `isFinal`.
 */
export class RequestFailedError extends PmpoError {
  /** Whether the same request would fail again, whatever the state of the server. */
  readonly isFinal: boolean = false;
}
