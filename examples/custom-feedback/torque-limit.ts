import { type FeedbackDefinition, type PluginApi, tf } from 'pmpo';

/**
 * Accepts actions that stay under a torque limit and beat the median of their state; rejects all others. The policy
 * learns the task and to be gentle at once, without a reward for gentleness.
 */
export function register({ feedback, z }: PluginApi): void {
  const settings = z.strictObject({
    limit: z
      .number()
      .positive()
      .default(0.8)
      .describe('Largest torque of any actuator, in units of the action'),
  });

  const torqueLimit: FeedbackDefinition<{ limit: number }> = {
    name: 'torque-limit',
    description: 'Accepts what stays under a torque limit and beats the median, rejects the rest',
    settings,
    create: ({ limit }) => ({
      provides: { accepts: true, rejects: true },

      // Every tensor has N samples of B states: evaluation [N, B], samples [N, B, actuators]. The operations become part
      // of the traced update, so no value can be read here: write conditions as tensors.
      classify({ evaluation, mask, samples }) {
        const present = tf.greater(mask, 0);
        const gentle = tf.lessEqual(tf.max(tf.abs(samples), -1), limit);

        // Better than half of the others of its state: fewer than (n − 1) / 2 are ahead.
        const ahead = tf.logicalAnd(
          tf.greater(tf.expandDims(evaluation, 0), tf.expandDims(evaluation, 1)),
          tf.expandDims(present, 0),
        );
        const rank = tf.sum(tf.cast(ahead, 'float32'), 1);
        const others = tf.sub(tf.sum(mask, 0, true), 1);
        const good = tf.less(rank, tf.div(others, 2));

        const accepted: tf.Tensor2D = tf.logicalAnd(present, tf.logicalAnd(gentle, good));
        const rejected: tf.Tensor2D = tf.logicalAnd(present, tf.logicalNot(accepted));
        return { accept: tf.cast(accepted, 'float32'), reject: tf.cast(rejected, 'float32') };
      },
    }),
  };
  feedback.register(torqueLimit);
}
