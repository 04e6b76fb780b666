import { hasIntegers } from './action-units.js';
import type { ReplayConfig } from './config.js';

/**
 * n of the n-step returns if the configuration does not set it. Transitions in the replay are of older policies, and an n-step return
 * includes n − 1 actions that such a policy chose. Where actions are continuous and steps short, that bias is small and rewards
 * travel faster. Where each action decides, as in games, the return says what a worse policy deserved: of a board of Catch
 * that is 10 columns wide, policies learned with n = 2 never reached the outer ones.
 */
const defaultSteps = { continuous: 5, integer: 1 };

/** n, as it is set, or else by the kinds of the action dimensions: `actionValues` is 0 for a continuous one, [A]. */
export function returnSteps({ nStep }: Pick<ReplayConfig, 'nStep'>, actionValues: Int32Array): number {
  return nStep ?? (hasIntegers(actionValues) ? defaultSteps.integer : defaultSteps.continuous);
}
