import type { Environment } from './environment.js';
import { ConnectionLostError } from './errors.js';

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

/**
 * Connects again after a loss, waiting longer after each failure.
 * @throws ConnectionLostError after the last attempt, or when aborted; anything else at once.
 */
export async function reconnect(
  connect: () => Promise<Environment>,
  lost: ConnectionLostError,
  { attempts, initialDelaySeconds, maxDelaySeconds }: ReconnectSettings,
  { sleep = sleepFor, signal }: { readonly sleep?: Sleep; readonly signal?: AbortSignal } = {},
): Promise<Environment> {
  let last = lost;
  for (let attempt = 0; attempt < attempts; attempt++) {
    await sleep(1000 * Math.min(maxDelaySeconds, initialDelaySeconds * 2 ** attempt), signal);
    if (signal?.aborted) break;
    try {
      return await connect();
    } catch (error) {
      if (!(error instanceof ConnectionLostError)) throw error;
      last = error;
    }
  }
  throw new ConnectionLostError({
    where: last.details.where,
    what: `${lost.details.what}, and ${attempts} attempts to reconnect failed: ${last.details.what}`,
    remedy: 'Start the server again and resume the run, or raise environment.reconnect.attempts',
    cause: last,
  });
}
