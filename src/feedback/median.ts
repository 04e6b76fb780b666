import { z } from 'zod';
import * as tf from '../engine/tf.js';
import type { EvaluationClassifier } from './classifier.js';
import { defineFeedback } from './define.js';
import { allPresent, indicator, ranks, withoutTies } from './ranking.js';

/**
 * Accepts the better half of each context's samples and rejects the worse half; of an odd number, the sample in the middle is
 * neither.
 */
export function median(): EvaluationClassifier {
  return {
    provides: { accepts: true, rejects: true },
    rejectShare: (samples) => Math.floor(samples / 2) / samples,
    classify({ evaluation, mask = allPresent(evaluation) }) {
      const rank = ranks(evaluation, mask);
      const middle = tf.div(tf.sub(tf.sum(mask, 0, true), 1), 2);
      return withoutTies(
        evaluation,
        indicator(tf.less(rank, middle), mask),
        indicator(tf.greater(rank, middle), mask),
      );
    },
  };
}

export const medianDefinition = defineFeedback({
  name: 'median',
  description: 'Accepts samples better than the median of their context and rejects worse ones',
  settings: z.strictObject({}),
  comparesSamples: true,
  create: median,
});
