import { Registry } from '../../core/registry.js';
import type { PublicModules } from '../../system/user-module.js';
import { judgeDefinition } from './judge.js';
import { programDefinition } from './program.js';
import type { RewardDefinition } from './reward.js';
import { rewardModelDefinition } from './reward-model.js';

/**
 * A registry with the built-in rewards, to which plugins add theirs.
 * @param modules what reward programs may import from this package; by default they resolve 'pmpo' from their own folder.
 */
export function createRewardRegistry(modules: PublicModules = {}): Registry<RewardDefinition> {
  const registry = new Registry<RewardDefinition>('reward');
  const builtIn = [programDefinition(modules), rewardModelDefinition, judgeDefinition] as const;
  for (const definition of builtIn) registry.register(definition as unknown as RewardDefinition);
  return registry;
}
