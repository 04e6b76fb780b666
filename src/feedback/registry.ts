import { Registry } from '../core/registry.js';
import type { RegisteredFeedback } from './classifier.js';
import { labelDefinition } from './label.js';
import { medianDefinition } from './median.js';
import { thresholdDefinition } from './threshold.js';
import { topKDefinition } from './top-k.js';
import { valueBaselineDefinition } from './value-baseline.js';

/** A registry of the built-in feedback classifiers, to which plugins add theirs. */
export function createFeedbackRegistry(): Registry<RegisteredFeedback> {
  const registry = new Registry<RegisteredFeedback>('feedback');
  for (const definition of [
    topKDefinition,
    medianDefinition,
    thresholdDefinition,
    valueBaselineDefinition,
    labelDefinition,
  ]) {
    registry.register(definition);
  }
  return registry;
}
