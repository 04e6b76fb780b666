import { z } from 'zod';
import type { Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { keep, overall, shareOf, weightedMean } from './masking.js';
import type { Operator, OperatorDefinition } from './operator.js';

/**
 * Maximum likelihood on the accepted samples, L = −E_x E_{y∼D_a(x)} log π_θ(y|x): the baseline that knows no reference
 * and no rejected samples. PMPO with α = 1 and β = 0.
 */

export const behaviorCloningSettings = z.strictObject({});

/** Behavior cloning of what was accepted. */
export function createBehaviorCloning(): Operator {
  return {
    needs: { feedback: 'accepts', evaluation: false, exactKl: false },
    initialState: () => ({}),
    loss(batch) {
      const accept = tf.mul(keep(batch.accept, batch.mask), batch.mask) as Tensor2D;
      const loss = tf.neg(overall(weightedMean(batch.logProb, accept))) as Scalar;
      return { loss, metrics: { 'policy/loss': loss, 'policy/acceptRate': shareOf(accept, batch.mask) } };
    },
  };
}

export const behaviorCloningDefinition: OperatorDefinition<z.infer<typeof behaviorCloningSettings>> = {
  name: 'behavior-cloning',
  description: 'Maximum likelihood on the accepted samples alone: no reference, no rejected samples',
  settings: behaviorCloningSettings,
  defaultSamples: 4,
  create: createBehaviorCloning,
};
