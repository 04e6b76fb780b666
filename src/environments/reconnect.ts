import { delayBefore, type ReconnectSettings, type Sleep, sleepFor } from '../core/backoff.js';
import { ConnectionLostError, sentence } from '../core/errors.js';
import type { Environment } from './environment.js';

/**
 * Connects again after a loss, waiting longer after each failure.
 * @throws ConnectionLostError after the last attempt, or when aborted; any other error of `connect` at once.
 */
export async function reconnect(
  connect: () => Promise<Environment>,
  lost: ConnectionLostError,
  settings: ReconnectSettings,
  { sleep = sleepFor, signal }: { readonly sleep?: Sleep; readonly signal?: AbortSignal } = {},
): Promise<Environment> {
  const { attempts } = settings;
  let last = lost;
  for (let attempt = 0; attempt < attempts; attempt++) {
    await sleep(delayBefore(attempt, settings), signal);
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
    remedy: `${sentence(last.details.remedy ?? 'Start the server again')} Then resume the run, or raise environment.reconnect.attempts`,
    cause: last,
  });
}
