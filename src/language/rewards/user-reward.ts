import { PmpoError } from '../../core/errors.js';
import { defaultDeadlineSeconds, inTime } from '../../core/in-time.js';
import { workerEntry } from '../../core/worker-entry.js';
import { type ThreadObject, UserThread } from '../../system/user-thread.js';
import type { Reward, RewardContext } from './reward.js';

/** The settings with which a thread opens a reward that a user wrote: the built-in `program`, or a plugin's. */
export interface UserRewardSettings {
  readonly kind: 'reward';
  /** The plugin's file; undefined for the built-in reward. */
  readonly plugin?: string;
  /** The reward's name and settings. */
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly where: string;
  /** Whether the user's code imports this program's own modules, or resolves them from its folder. */
  readonly ownModules: boolean;
}

/**
 * Opens a reward that a user wrote in a thread of its own: it has a deadline, is told of while it is waited for, and ends with the run.
 * @param label its name in messages: the file, or the plugin's name for it.
 * @throws PmpoError as the reward's own `open` does, or if that does not end in time.
 */
export async function openUserReward(
  label: string,
  settings: UserRewardSettings,
  { where, notice, waiting, signal: stopped }: RewardContext,
): Promise<Reward> {
  const thread = new UserThread(workerEntry('../../plugin-worker', import.meta.url), settings, notice);
  const place = `${where}: ${label}`;
  const call = async <T>(seconds: number, kind: 'open' | 'call', input?: unknown, signal?: AbortSignal) => {
    const options = { signal, onWait: waiting };
    try {
      return (await inTime(
        { where: place, seconds },
        (ending) => thread.request(kind, input, ending),
        options,
      )) as T;
    } catch (cause) {
      if (cause instanceof PmpoError && cause.details.where !== undefined) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new PmpoError({ where: place, what: message, cause });
    }
  };
  let seconds = defaultDeadlineSeconds;
  try {
    const traits = await call<Pick<Reward, 'deadlineSeconds'>>(
      defaultDeadlineSeconds,
      'open',
      undefined,
      stopped,
    );
    seconds = traits.deadlineSeconds ?? defaultDeadlineSeconds;
  } catch (cause) {
    await thread.close();
    throw cause;
  }
  return {
    evaluate: (completions, signal) => call(seconds, 'call', completions, signal),
    close: () => thread.close(),
  };
}

/** The reward as its thread holds it. */
export function threadReward(reward: Reward): ThreadObject {
  return {
    traits: { deadlineSeconds: reward.deadlineSeconds },
    call: (input, signal) => Promise.resolve(reward.evaluate(input as never, signal)),
    close: () => reward.close?.(),
  };
}
