import type { PluginApi } from 'pmpo';
import { tf } from 'pmpo/engine';

/**
 * Accepts actions that stay under a torque limit and beat the median of their state, and rejects all others. The policy learns
 * the task and keeps its torques small at the same time, without a term for torques in the reward.
 */
export function register({ feedback, z }: PluginApi): void {
  const settings = z.strictObject({
    limit: z
      .number()
      .positive()
      .default(0.8)
      .describe('Largest torque of any actuator, in units of the action'),
  });

  feedback.register({
    name: 'torque-limit',
    description: 'Accepts actions that stay under a torque limit and beat the median, and rejects the others',
    settings,
    create: ({ limit }) => ({
      provides: { accepts: true, rejects: true },

      // Shapes: N samples of each of B states; evaluation and mask are [N, B], samples [N, B, actuators]. These operations
      // become part of the compiled update, where no value can be read: conditions are tensors, too.
      classify({ evaluation, mask, samples }) {
        const present = tf.greater(mask, 0);
        const gentle = tf.lessEqual(tf.max(tf.abs(samples), -1), limit);

        // Better than half of the other samples of its state: fewer than (n − 1) / 2 of them are ahead.
        const ahead = tf.logicalAnd(
          tf.greater(tf.expandDims(evaluation, 0), tf.expandDims(evaluation, 1)),
          tf.expandDims(present, 0),
        );
        const rank = tf.sum(tf.cast(ahead, 'float32'), 1);
        const others = tf.sub(tf.sum(mask, 0, true), 1);
        const good = tf.less(rank, tf.div(others, 2));

        const accepted = tf.logicalAnd(present, tf.logicalAnd(gentle, good));
        const rejected = tf.logicalAnd(present, tf.logicalNot(accepted));
        return { accept: tf.cast(accepted, 'float32'), reject: tf.cast(rejected, 'float32') };
      },
    }),
  });
}
