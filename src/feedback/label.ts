import { z } from 'zod';
import * as tf from '../engine/tf.js';
import type { EvaluationClassifier } from './classifier.js';
import { defineFeedback } from './define.js';
import { allPresent } from './ranking.js';

/**
 * Reads evaluations as the labels of a data set: 1 accepts, −1 rejects, 0 does neither, and a number between gives that weight.
 * Labels beyond ±1 count as ±1. (arXiv 2410.04166, section 3: any source of feedback can be used.)
 */
export function label(): EvaluationClassifier {
  return {
    provides: { accepts: true, rejects: true },
    classify({ evaluation, mask = allPresent(evaluation) }) {
      const present = tf.where(tf.greater(mask, 0), evaluation, tf.zerosLike(evaluation));
      const weight = tf.clipByValue(present, -1, 1);
      return { accept: tf.maximum(weight, 0), reject: tf.maximum(tf.neg(weight), 0) };
    },
  };
}

export const labelDefinition = defineFeedback({
  name: 'label',
  description: 'Accepts and rejects by the labels of a data set: 1 and −1',
  settings: z.strictObject({}),
  readsLabels: true,
  create: label,
});
