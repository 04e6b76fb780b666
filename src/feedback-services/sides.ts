import { z } from 'zod';
import type { FeedbackClassifier, HostFeedback } from '../feedback/classifier.js';

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

/** The weights without those of a side that is not given. */
export function givenSides(
  { accepts, rejects }: FeedbackClassifier['provides'],
  { accept, reject }: HostFeedback,
): HostFeedback {
  return {
    accept: accepts ? accept : new Float32Array(accept.length),
    reject: rejects ? reject : new Float32Array(reject.length),
  };
}
