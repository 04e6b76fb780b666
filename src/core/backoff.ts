/** How often, and how patiently, to try again after a lost connection. */
export interface ReconnectSettings {
  /** The number of attempts before giving up. */
  readonly attempts: number;
  /** The delay before the first attempt; doubled for each one after it. */
  readonly initialDelaySeconds: number;
  /** The longest delay. */
  readonly maxDelaySeconds: number;
}

/** Resolves after some milliseconds, or when the signal is aborted. */
export type Sleep = (milliseconds: number, signal?: AbortSignal) => Promise<void>;

/** A Sleep by the system's clock. */
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
