import type { PluginApi } from 'pmpo';

/** Accepts samples that are better than the mean of their context by a margin, and rejects those that are worse by it. */
export function register({ feedback, tf, z }: PluginApi): void {
  feedback.register({
    name: 'my-classifier',
    description:
      'Accepts samples better than the mean of their context by a margin, and rejects those worse by it',
    settings: z.strictObject({
      margin: z.number().min(0).default(0).describe('The distance from the mean, in units of the evaluation'),
    }),
    create: ({ margin }) => ({
      provides: { accepts: true, rejects: true },

      // N samples of each of B contexts. evaluation and mask are [N, B]; baseline, the value of each context, is [B]; samples are the actions
      // [N, B, A], and contexts the observations [B, O]. These operations become part of the compiled update, where no value can be read:
      // conditions are tensors, too. Where the mask is 0 there is no sample, and the evaluation means nothing.
      classify({ evaluation, mask }) {
        const values = tf.where(tf.greater(mask, 0), evaluation, tf.zerosLike(evaluation));
        const mean = tf.div(tf.sum(values, 0, true), tf.maximum(tf.sum(mask, 0, true), 1));
        const ahead = tf.sub(values, mean);
        const weights = (condition: ReturnType<typeof tf.greater>) =>
          tf.mul(mask, tf.cast(condition, 'float32'));
        return { accept: weights(tf.greater(ahead, margin)), reject: weights(tf.less(ahead, -margin)) };
      },
    }),
  });
}
