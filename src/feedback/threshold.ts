import { z } from 'zod';
import { parseSettings } from '../core/settings.js';
import * as tf from '../engine/tf.js';
import type { EvaluationClassifier } from './classifier.js';
import { defineFeedback } from './define.js';
import { allPresent, indicator } from './ranking.js';

const thresholdSettings = z.strictObject({
  value: z
    .number()
    .describe('b: a sample is accepted if f ≥ b and rejected if f < b, in the units of the evaluation'),
});
/** The settings of `threshold`: `value` is the evaluation from which a sample is accepted. */
export type ThresholdSettings = z.input<typeof thresholdSettings>;

function create({ value }: z.output<typeof thresholdSettings>): EvaluationClassifier {
  return {
    provides: { accepts: true, rejects: true },
    classify: ({ evaluation, mask = allPresent(evaluation) }) => ({
      accept: indicator(tf.greaterEqual(evaluation, value), mask),
      reject: indicator(tf.less(evaluation, value), mask),
    }),
  };
}

export const thresholdDefinition = defineFeedback({
  name: 'threshold',
  description: 'Accepts samples whose evaluation is at least a given value and rejects the others',
  settings: thresholdSettings,
  create,
});

/**
 * Accepts samples with f(x, y) ≥ b and rejects the others (arXiv 2410.04166, section 3).
 * @throws ConfigError if `value` is not a number.
 */
export function threshold(settings: ThresholdSettings): EvaluationClassifier {
  return create(parseSettings('threshold', thresholdSettings, settings));
}
