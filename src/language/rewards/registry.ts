import { Registry } from '../../core/registry.js';
import { judgeDefinition } from './judge.js';
import { programDefinition } from './program.js';
import type { RewardDefinition } from './reward.js';
import { rewardModelDefinition } from './reward-model.js';

/** A registry with the built-in rewards, to which plugins add theirs. */
export function createRewardRegistry(): Registry<RewardDefinition> {
  const registry = new Registry<RewardDefinition>('reward');
  const builtIn = [programDefinition, rewardModelDefinition, judgeDefinition] as const;
  for (const definition of builtIn) registry.register(definition as unknown as RewardDefinition);
  return registry;
}
