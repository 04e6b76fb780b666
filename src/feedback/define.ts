import type { z } from 'zod';
import { parseSettings } from '../core/settings.js';
import type { FeedbackDefinition, RegisteredFeedback } from './classifier.js';

/** Makes a classifier that can be registered: its settings are checked by their schema. */
export function defineFeedback<S extends z.ZodObject>(definition: FeedbackDefinition<S>): RegisteredFeedback {
  const parse = (settings: unknown) => parseSettings(definition.name, definition.settings, settings);
  return {
    ...definition,
    create: (settings, samples) => definition.create(parse(settings), samples),
    complete(settings, samples) {
      const parsed = parse(settings);
      return definition.complete?.(parsed, samples) ?? parsed;
    },
  };
}
