/** Exit codes of the command-line program. */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

export interface ProblemDetails {
  /** What went wrong, one clause, no trailing full stop. */
  readonly what: string;
  /** Where: a file, a config key, an address, a plugin, a step. */
  readonly where?: string;
  /** What would be right, or what to do next. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

function compose({ what, where, remedy }: ProblemDetails): string {
  return `${where === undefined ? '' : `${where}: `}${what}${remedy === undefined ? '' : `. ${remedy}`}`;
}

/**
 * The one form of every error a person is meant to read: `where: what. remedy`. The command line prints its message
 * without a stack trace and exits with `exitCode`; anything else that reaches the top is a bug and shows its stack.
 */
export class PmpoError extends Error {
  readonly exitCode: number = exitCodes.failed;
  readonly details: ProblemDetails;

  constructor(details: ProblemDetails) {
    super(compose(details), { cause: details.cause });
    this.name = new.target.name;
    this.details = details;
  }
}

/** Bad usage or a bad configuration: found before anything starts; the program exits with 2. */
export class ConfigError extends PmpoError {
  override readonly exitCode = exitCodes.usage;
}

/** A connection broke or cannot be made now, and the request it carried is lost. Another attempt may succeed. */
export class ConnectionLostError extends PmpoError {}
