import { z } from 'zod';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition } from './classifier.js';
import { where } from './ranking.js';

export const valueBaselineSettings = z.strictObject({});

/** The sign of the advantage: f(x, y) ≥ V(x) accepted, the rest rejected (arXiv 2410.04166, section 3). */
export const valueBaselineDefinition: FeedbackDefinition<z.infer<typeof valueBaselineSettings>> = {
  name: 'value-baseline',
  description:
    "Accepts samples at or above the context's value and rejects the others: the sign of the advantage",
  settings: valueBaselineSettings,
  create: () => ({
    provides: { accepts: true, rejects: true },
    classify: ({ evaluation, mask, baseline }) => ({
      accept: where(tf.greaterEqual(evaluation, baseline), mask),
      reject: where(tf.less(evaluation, baseline), mask),
    }),
  }),
};
