import { z } from 'zod';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition } from './classifier.js';

export const labelSettings = z.strictObject({});

/**
 * The labels of a data set: 1 accepted, −1 rejected, 0 neither; numbers between them weigh less. Beyond ±1 a label counts as
 * ±1. (arXiv 2410.04166, section 3: whatever says which samples are good will do.)
 */
export const labelDefinition: FeedbackDefinition<z.infer<typeof labelSettings>> = {
  name: 'label',
  description: 'Accepts and rejects as the labels of a data set say: 1 and −1',
  settings: labelSettings,
  readsLabels: true,
  create: () => ({
    provides: { accepts: true, rejects: true },
    classify: ({ evaluation, mask }) => {
      const present = tf.where(tf.greater(mask, 0), evaluation, tf.zerosLike(evaluation));
      const label = tf.clipByValue(present, -1, 1);
      return {
        accept: tf.maximum(label, 0),
        reject: tf.maximum(tf.neg(label), 0),
      };
    },
  }),
};
