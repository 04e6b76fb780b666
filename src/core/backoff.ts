export interface ReconnectSettings {
  /** Attempts after a loss before giving up. */
  readonly attempts: number;
  /** Before the first attempt; doubled for each one after. */
  readonly initialDelaySeconds: number;
  readonly maxDelaySeconds: number;
}

export type Sleep = (milliseconds: number, signal?: AbortSignal) => Promise<void>;

/** Resolves after a time, or at once when aborted. */
export const sleepFor: Sleep = (milliseconds, signal) =>
  new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done);
    if (signal?.aborted) done();
  });

/** The delay before attempt number `attempt`, from 0, in milliseconds. */
export function delayBefore(
  attempt: number,
  { initialDelaySeconds, maxDelaySeconds }: ReconnectSettings,
): number {
  return 1000 * Math.min(maxDelaySeconds, initialDelaySeconds * 2 ** attempt);
}
