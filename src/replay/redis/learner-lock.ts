import { PmpoError } from '../../core/errors.js';

/**
 * Ensures that a run has one learner at a time: a lock in Redis that expires unless its holder renews it, so that a killed
 * learner does not hold it forever and two live learners never learn from the same run.
 */

/** The reply to a claim of the lock. */
export type Claim =
  | { readonly mine: true }
  | { readonly mine: false; readonly holder: string; readonly millisecondsLeft: number };

export interface LockOptions {
  /** Takes the lock if it is free or already ours. */
  readonly claim: () => Promise<Claim>;
  /** Frees the lock if `holder` has it, because that holder is known to be gone. */
  readonly release: (holder: string) => Promise<void>;
  /** Whether the holder's process is known to have ended. */
  readonly isGone: (holder: string) => boolean;
  /** The holder in words: `process 123 on host`. */
  readonly describe: (holder: string) => string;
  readonly notice: (message: string) => void;
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** The run, for messages. */
  readonly where: string;
  readonly signal?: AbortSignal;
}

const pollEveryMs = 500;

/**
 * Takes the lock. If another learner has it, waits until it expires; a learner that renews it is alive.
 * @throws PmpoError when the other learner is alive, or the signal ends the wait.
 */
export async function acquireLock(options: LockOptions): Promise<void> {
  const { claim, release, isGone, describe, notice, sleep, where, signal } = options;
  let before: Extract<Claim, { mine: false }> | undefined;
  for (;;) {
    const answer = await claim();
    if (answer.mine) return;
    const { holder, millisecondsLeft } = answer;
    if (isGone(holder)) {
      await release(holder);
      continue;
    }
    const renewed =
      before !== undefined && before.holder === holder && millisecondsLeft > before.millisecondsLeft;
    const changed = before !== undefined && before.holder !== holder;
    if (renewed || changed) {
      throw new PmpoError({
        where,
        what: `another learner holds this run: ${describe(holder)}`,
        remedy: 'Stop that learner first, or give this run another name (--name, or replay.name)',
      });
    }
    if (signal?.aborted) throw new PmpoError({ where, what: 'stopped while waiting for its lock' });
    if (before === undefined) {
      const seconds = Math.ceil(millisecondsLeft / 1000);
      notice(
        `A learner held this run a moment ago (${describe(holder)}); waiting up to ${seconds} s to see whether it is alive`,
      );
    }
    before = answer;
    await sleep(Math.min(pollEveryMs, Math.max(1, millisecondsLeft)));
  }
}
