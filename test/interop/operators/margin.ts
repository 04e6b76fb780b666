import type { PluginApi } from '../../../src/config/plugins.js';
import type { Tensor } from '../../../src/engine/tensors.js';

/** A plugin's operator: a squared margin between accepted and rejected log-ratios, with a slack that is trained. */
export function register({ operators, z, tf }: PluginApi): void {
  operators.register({
    name: 'margin',
    description: 'Squares what is missing from a margin',
    settings: z.strictObject({
      margin: z.number().min(0).default(1).describe('The margin, in nats'),
      kl: z.number().min(0).default(0.5).describe('Weight of the KL'),
    }),
    create: ({ margin, kl: weight }) => ({
      needs: { feedback: 'either', evaluation: false },
      initialState: () => ({ slack: { shape: [1], data: Float32Array.of(0.25) } }),
      projectState: ({ slack }) => ({ slack: tf.clipByValue(slack!, 0, 1) }),
      loss({ logProb, referenceLogProb, accept, reject, mask, kl }, { slack }) {
        const ratio = tf.where(tf.greater(mask, 0), tf.sub(logProb, referenceLogProb), 0);
        const sign = tf.sub(accept, reject);
        const missing = tf.relu(tf.sub(tf.sub(margin, tf.mul(sign, ratio)), slack!));
        const labeled = tf.add(accept, reject);
        const squares: Tensor = tf.mean(tf.mul(labeled, tf.square(missing)));
        const divergence = Object.values(kl().parts).map((part) => tf.mean(tf.logSumExp(part, -1)));
        const penalty = tf.mul(weight, tf.addN(divergence));
        return {
          loss: tf.addN([squares, penalty, tf.mean(tf.square(slack!))]).asScalar(),
          metrics: { 'policy/missing': tf.max(missing).asScalar() },
        };
      },
    }),
  });
}
