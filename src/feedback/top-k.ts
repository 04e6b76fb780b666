import { z } from 'zod';
import { ConfigError } from '../core/errors.js';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition } from './classifier.js';
import { ranks, where } from './ranking.js';

/** How many are accepted, and rejected, where nothing is said (arXiv 2410.04166, section 5: 2 and 2 of 4). */
const usual = 2;
const byDefault = `default: ${usual}, or as many as leave the two sides apart where there are few samples`;

const number = z.int().min(0).optional();
export const topKSettings = z.strictObject({
  accept: number.describe(`How many of the best samples of each context are accepted; ${byDefault}`),
  reject: number.describe(`How many of the worst samples of each context are rejected; ${byDefault}`),
});

/** What is not set, for N samples: no more than half of them, nor than the other side leaves. */
function withDefaults(
  given: z.infer<typeof topKSettings>,
  samples: number,
): Record<'accept' | 'reject', number> {
  const beside = (other = 0) => Math.max(0, Math.min(usual, Math.floor(samples / 2), samples - other));
  return { accept: given.accept ?? beside(given.reject), reject: given.reject ?? beside(given.accept) };
}

/** The best k samples of each context accepted, the worst m rejected. */
export const topKDefinition: FeedbackDefinition<z.infer<typeof topKSettings>> = {
  name: 'top-k',
  description: 'Accepts the best k samples of each context and rejects the worst m',
  settings: topKSettings,
  comparesSamples: true,
  complete: withDefaults,
  create(settings, samples) {
    const { accept, reject } = withDefaults(settings, samples);
    if (accept + reject > samples) {
      throw new ConfigError({
        where: 'feedback',
        what: `top-k accepts ${accept} and rejects ${reject} of ${samples} samples: ${accept > samples || reject > samples ? 'there are not as many' : 'some would be both'}`,
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
