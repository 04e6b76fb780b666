import { z } from 'zod';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition } from './classifier.js';
import { ranks, where } from './ranking.js';

export const medianSettings = z.strictObject({});

/** The better half of each context's samples accepted, the worse half rejected; of an odd number the middle is neither. */
export const medianDefinition: FeedbackDefinition<z.infer<typeof medianSettings>> = {
  name: 'median',
  description: 'Accepts what is better than the median of its context and rejects what is worse',
  settings: medianSettings,
  comparesSamples: true,
  create: () => ({
    provides: { accepts: true, rejects: true },
    rejectShare: (n) => Math.floor(n / 2) / n,
    classify({ evaluation, mask }) {
      const rank = ranks(evaluation, mask);
      const middle = tf.div(tf.sub(tf.sum(mask, 0, true), 1), 2);
      return { accept: where(tf.less(rank, middle), mask), reject: where(tf.greater(rank, middle), mask) };
    },
  }),
};
