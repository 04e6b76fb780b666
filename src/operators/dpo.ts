import { z } from 'zod';
import type { Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { keep, shareOf } from './masking.js';
import type { Operator, OperatorBatch, OperatorDefinition } from './operator.js';

/**
 * Direct Preference Optimization (arXiv 2305.18290, equation 7) on the best accepted and the worst rejected sample of each
 * context:
 *
 *   L = −E_x log σ( β·[(log π_θ(y_a|x) − log π_ref(y_a|x)) − (log π_θ(y_r|x) − log π_ref(y_r|x))] )
 *
 * E_x is the mean over the contexts that have such a pair.
 */

export const dpoSettings = z.strictObject({
  beta: z.number().positive().default(1).describe('Strength of the pull towards the reference policy'),
});
export type DpoSettings = z.infer<typeof dpoSettings>;

/** 1 for the first sample of greatest `score` among those with a positive `weight`, per context; [N, B]. */
function bestOf(score: Tensor2D, weight: Tensor2D): Tensor2D {
  const candidates = tf.where(tf.greater(weight, 0), score, tf.fill(score.shape, -3e38));
  const index = tf.argMax(candidates, 0);
  const picked = tf.transpose(tf.oneHot(index as Tensor1D, score.shape[0])) as Tensor2D;
  return tf.where(tf.greater(weight, 0), tf.cast(picked, 'float32'), tf.zerosLike(weight)) as Tensor2D;
}

function pick(values: Tensor2D, chosen: Tensor2D): Tensor1D {
  return tf.sum(tf.mul(chosen, keep(values, chosen)), 0) as Tensor1D;
}

/** DPO with the given settings. See the head of this file for the loss. */
export function createDpo({ beta }: DpoSettings): Operator {
  function loss(batch: OperatorBatch) {
    const accept = tf.mul(keep(batch.accept, batch.mask), batch.mask) as Tensor2D;
    const reject = tf.mul(keep(batch.reject, batch.mask), batch.mask) as Tensor2D;
    const chosen = bestOf(batch.evaluation, accept);
    const refused = bestOf(tf.neg(batch.evaluation) as Tensor2D, reject);
    const pair = tf.mul(tf.sum(chosen, 0), tf.sum(refused, 0));
    const margin = (logProb: Tensor2D) => tf.sub(pick(logProb, chosen), pick(logProb, refused));
    const logits = tf.mul(tf.sub(margin(batch.logProb), margin(batch.referenceLogProb)), beta);
    const pairs = tf.sum(pair);
    const count = tf.maximum(pairs, 1);
    // −log σ(z) = softplus(−z)
    const value = tf.div(tf.sum(tf.mul(pair, tf.softplus(tf.neg(logits)))), count) as Scalar;
    const correct = tf.cast(tf.greater(logits, 0), 'float32');
    return {
      loss: value,
      metrics: {
        'policy/loss': value,
        'policy/margin': tf.div(tf.sum(tf.mul(pair, logits)), count) as Scalar,
        'policy/pairAccuracy': tf.div(tf.sum(tf.mul(pair, correct)), count) as Scalar,
        'policy/pairRate': tf.mean(pair) as Scalar,
        'policy/acceptRate': shareOf(accept, batch.mask),
        'policy/rejectRate': shareOf(reject, batch.mask),
      },
    };
  }
  return {
    needs: { feedback: 'pairs', evaluation: false, exactKl: false },
    initialState: () => ({}),
    loss,
  };
}

export const dpoDefinition: OperatorDefinition<DpoSettings> = {
  name: 'dpo',
  description:
    'Direct Preference Optimization on the best and the worst sample of each context (arXiv 2305.18290)',
  settings: dpoSettings,
  defaultSamples: 4,
  create: createDpo,
};
