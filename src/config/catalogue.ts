import type { Registry } from '../core/registry.js';
import type { RegisteredFeedback } from '../feedback/classifier.js';
import { createFeedbackRegistry } from '../feedback/registry.js';
import { programFeedbackDefinition } from '../feedback-services/program.js';
import { remoteDefinition } from '../feedback-services/remote.js';
import { createRewardRegistry } from '../language/rewards/registry.js';
import type { RewardDefinition } from '../language/rewards/reward.js';
import type { RegisteredOperator } from '../operators/operator.js';
import { createOperatorRegistry } from '../operators/registry.js';
import type { SimulatorDefinition } from '../simulators/definition.js';
import { simulators } from '../simulators/registry.js';
import type { PublicModules } from '../system/user-module.js';

/** The registries of everything that a configuration can choose by name. */
export interface Catalogue {
  readonly operators: Registry<RegisteredOperator>;
  readonly feedback: Registry<RegisteredFeedback>;
  readonly rewards: Registry<RewardDefinition>;
  readonly simulators: Registry<SimulatorDefinition>;
}

/**
 * New registries with the built-in definitions: plugins of one configuration never reach another.
 * @param modules what reward programs may import from this package.
 */
export function createCatalogue(modules: PublicModules = {}): Catalogue {
  const feedback = createFeedbackRegistry();
  for (const definition of [remoteDefinition, programFeedbackDefinition]) feedback.register(definition);
  return {
    operators: createOperatorRegistry(),
    feedback,
    rewards: createRewardRegistry(modules),
    simulators,
  };
}
