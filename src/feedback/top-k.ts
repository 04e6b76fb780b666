import { z } from 'zod';
import { ConfigError } from '../core/errors.js';
import * as tf from '../engine/tf.js';
import type { EvaluationClassifier } from './classifier.js';
import { defineFeedback } from './define.js';
import { allPresent, indicator, ranks, withoutTies } from './ranking.js';

/** The paper accepts the best 2 and rejects the worst 2 of 4 samples (arXiv 2410.04166, section 5). */
const usualCount = 2;
const defaultText = `default: ${usualCount}, or fewer if N is so small that the two sides would overlap`;

const count = z.int().min(0).optional();
const topKSettings = z.strictObject({
  accept: count.describe(`How many of the best samples of each context are accepted; ${defaultText}`),
  reject: count.describe(`How many of the worst samples of each context are rejected; ${defaultText}`),
});
/** The settings of `topK`: how many of the best samples are accepted, and of the worst rejected. */
export type TopKSettings = z.input<typeof topKSettings>;
type Counts = Required<TopKSettings>;

/** Counts that are not set are at most half of N samples, and at most what the other side leaves. */
function withDefaults({ accept, reject }: TopKSettings, samples: number): Counts {
  const beside = (other = 0) => Math.max(0, Math.min(usualCount, Math.floor(samples / 2), samples - other));
  return { accept: accept ?? beside(reject), reject: reject ?? beside(accept) };
}

function create({ accept, reject }: Counts): EvaluationClassifier {
  return {
    provides: { accepts: accept > 0, rejects: reject > 0 },
    rejectShare: (samples) => reject / samples,
    classify({ evaluation, mask = allPresent(evaluation) }) {
      const rank = ranks(evaluation, mask);
      const present = tf.sum(mask, 0, true);
      // In a context with fewer than accept + reject samples the best stay accepted, and only the remaining ones are rejected.
      const firstRejected = tf.maximum(tf.sub(present, reject), accept);
      return withoutTies(
        evaluation,
        indicator(tf.less(rank, accept), mask),
        indicator(tf.greaterEqual(rank, firstRejected), mask),
      );
    },
  };
}

export const topKDefinition = defineFeedback({
  name: 'top-k',
  description: 'Accepts the best k samples of each context and rejects the worst m',
  settings: topKSettings,
  comparesSamples: true,
  complete: withDefaults,
  create(settings, samples) {
    const { accept, reject } = withDefaults(settings, samples);
    if (accept + reject > samples) {
      const problem =
        accept > samples || reject > samples
          ? 'there are too few samples'
          : 'some samples would be accepted and rejected';
      throw new ConfigError({
        where: 'feedback',
        what: `top-k accepts ${accept} and rejects ${reject} of ${samples} samples: ${problem}`,
        remedy: `Lower feedback.accept or feedback.reject, or raise learner.samples to ${accept + reject}`,
      });
    }
    return create({ accept, reject });
  },
});

/**
 * Accepts the best and rejects the worst samples of each context (arXiv 2410.04166, section 5).
 * @param settings default: 2 and 2, as in the paper
 * @throws ConfigError if a count is not a whole number of at least 0.
 */
export function topK(settings: TopKSettings = {}): EvaluationClassifier {
  const { accept = usualCount, reject = usualCount } = settings;
  return create(topKDefinition.complete({ accept, reject }, accept + reject) as Counts);
}
