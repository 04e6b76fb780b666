import { PmpoError } from '../../core/errors.js';

/**
 * One learner at a time for each run: a lock in Redis that runs out unless its holder renews it, so that a learner that was
 * killed does not hold it for ever, and two that live never learn from the same run.
 */

/** What Redis says to a claim. */
export type Claim =
  | { readonly mine: true }
  | { readonly mine: false; readonly holder: string; readonly millisecondsLeft: number };

export interface LockOptions {
  /** Takes the lock if it is free or ours. */
  readonly claim: () => Promise<Claim>;
  /** Frees it if `holder` has it: for one that is known to be gone. */
  readonly release: (holder: string) => Promise<void>;
  /** Whether the holder's process is known to have ended. */
  readonly isGone: (holder: string) => boolean;
  /** `process 123 on host`. */
  readonly describe: (holder: string) => string;
  readonly notice: (message: string) => void;
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** The run, for messages. */
  readonly where: string;
  readonly signal?: AbortSignal;
}

const lookEveryMs = 500;

/**
 * Takes the lock. Where another learner has it, waits until it runs out; a learner that renews it lives.
 * @throws PmpoError when the other one lives, or the signal ends the wait.
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
        what: `another learner feeds on this run: ${describe(holder)}`,
        remedy: 'Stop that one first, or give this run another name (--name, or replay.name)',
      });
    }
    if (signal?.aborted) throw new PmpoError({ where, what: 'stopped while waiting for its lock' });
    if (before === undefined) {
      const seconds = Math.ceil(millisecondsLeft / 1000);
      notice(
        `A learner had this run a moment ago (${describe(holder)}); waiting up to ${seconds} s to see whether it lives`,
      );
    }
    before = answer;
    await sleep(Math.min(lookEveryMs, Math.max(1, millisecondsLeft)));
  }
}
