import { openUserCode, type UserCodeTraits } from '../../system/user-code.js';
import type { ThreadObject } from '../../system/user-thread.js';
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
 * Opens a reward that a user wrote in a thread of its own.
 * @param label its name in messages: the file, or the plugin's name for it.
 * @throws PmpoError as the reward's own `open` does, or if that does not end in time.
 */
export async function openUserReward(
  label: string,
  settings: UserRewardSettings,
  context: RewardContext,
): Promise<Reward> {
  const code = await openUserCode<UserCodeTraits>(`${context.where}: ${label}`, settings, context);
  return {
    evaluate: (completions, signal) => code.call(completions, signal),
    close: () => code.close(),
  };
}

/** The reward as its thread holds it. */
export function threadReward(reward: Reward): ThreadObject {
  return {
    traits: { deadlineSeconds: reward.deadlineSeconds } satisfies UserCodeTraits,
    call: (input, signal) => Promise.resolve(reward.evaluate(input as never, signal)),
    close: () => reward.close?.(),
  };
}
