import { z } from 'zod';
import type { FeedbackClassifier } from '../feedback/classifier.js';

/** What a classifier outside this process gives, which must be known before it is asked. */
export const givesSchema = z
  .enum(['both', 'accepts', 'rejects'])
  .default('both')
  .describe('Which weights it gives: the operator is checked against them before the run starts');

/** @param gives a value of `givesSchema`. */
export const sidesOf = (gives: z.output<typeof givesSchema>): FeedbackClassifier['provides'] => ({
  accepts: gives !== 'rejects',
  rejects: gives !== 'accepts',
});
