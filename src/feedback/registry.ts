import { Registry } from '../core/registry.js';
import type { FeedbackDefinition } from './classifier.js';
import { labelDefinition } from './label.js';
import { medianDefinition } from './median.js';
import { thresholdDefinition } from './threshold.js';
import { topKDefinition } from './top-k.js';
import { valueBaselineDefinition } from './value-baseline.js';

/** A registry with the built-in feedback classifiers, to which plugins add theirs. */
export function createFeedbackRegistry(): Registry<FeedbackDefinition> {
  const registry = new Registry<FeedbackDefinition>('feedback');
  // A definition's settings are parsed by its own schema before `create` sees them.
  const builtIn = [
    topKDefinition,
    medianDefinition,
    thresholdDefinition,
    valueBaselineDefinition,
    labelDefinition,
  ] as const;
  for (const definition of builtIn) registry.register(definition as unknown as FeedbackDefinition);
  return registry;
}
