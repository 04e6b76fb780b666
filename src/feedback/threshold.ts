import { z } from 'zod';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition } from './classifier.js';
import { where } from './ranking.js';

export const thresholdSettings = z.strictObject({
  value: z.number().describe('b: accepted where f ≥ b, rejected where f < b, in the units of the evaluation'),
});

/** f(x, y) ≥ b accepted, the rest rejected (arXiv 2410.04166, section 3). */
export const thresholdDefinition: FeedbackDefinition<z.infer<typeof thresholdSettings>> = {
  name: 'threshold',
  description: 'Accepts samples whose evaluation reaches a value and rejects the others',
  settings: thresholdSettings,
  create: ({ value }) => ({
    provides: { accepts: true, rejects: true },
    classify: ({ evaluation, mask }) => ({
      accept: where(tf.greaterEqual(evaluation, value), mask),
      reject: where(tf.less(evaluation, value), mask),
    }),
  }),
};
