import { z } from 'zod';
import * as tf from '../engine/tf.js';
import { ConfigError } from '../errors.js';
import type { FeedbackDefinition } from './classifier.js';
import { ranks, where } from './ranking.js';

export const topKSettings = z.strictObject({
  accept: z.int().min(0).default(2).describe('How many of the best samples of each context are accepted'),
  reject: z.int().min(0).default(2).describe('How many of the worst samples of each context are rejected'),
});

/** The best k samples of each context accepted, the worst m rejected (arXiv 2410.04166, section 5: 2 and 2 of 4). */
export const topKDefinition: FeedbackDefinition<z.infer<typeof topKSettings>> = {
  name: 'top-k',
  description: 'Accepts the best k samples of each context and rejects the worst m',
  settings: topKSettings,
  create({ accept, reject }, samples) {
    if (accept + reject > samples) {
      throw new ConfigError({
        where: 'feedback',
        what: `top-k accepts ${accept} and rejects ${reject} of ${samples} samples: some would be both`,
        remedy: `Lower feedback.accept or feedback.reject, or raise learner.samples to ${accept + reject}`,
      });
    }
    return {
      provides: { accepts: accept > 0, rejects: reject > 0 },
      rejectShare: (n) => reject / n,
      classify({ evaluation, mask }) {
        const rank = ranks(evaluation, mask);
        const present = tf.sum(mask, 0, true);
        // Where a context has fewer than accept + reject samples, the best stay accepted and only the rest is rejected.
        const firstRejected = tf.maximum(tf.sub(present, reject), accept);
        return {
          accept: where(tf.less(rank, accept), mask),
          reject: where(tf.greaterEqual(rank, firstRejected), mask),
        };
      },
    };
  },
};
