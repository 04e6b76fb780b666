import { z } from 'zod';
import type { Scalar } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { maskedMean, rate } from './masking.js';
import type { CheckedBatch, Operator, OperatorResult } from './operator.js';

/**
 * Maximum likelihood of the accepted samples, L = −E_x E_{y∼D_a(x)} log π_θ(y|x): a baseline that reads neither a reference nor
 * rejected samples. It equals PMPO with α = 1 and β = 0.
 */

function behaviorCloningLoss({ logProb, accept, mask }: CheckedBatch): OperatorResult {
  const loss: Scalar = tf.neg(tf.mean(maskedMean(logProb, accept)));
  return { loss, metrics: { 'policy/loss': loss, 'policy/acceptRate': rate(accept, mask) } };
}

export const behaviorCloningDefinition = defineOperator({
  name: 'behavior-cloning',
  description: 'Maximum likelihood of the accepted samples alone: no reference, no rejected samples',
  settings: z.strictObject({}),
  create: () => ({
    needs: { feedback: 'accepts', evaluation: false, referenceLogProb: false, kl: 'none' },
    initialState: () => ({}),
    loss: behaviorCloningLoss,
  }),
});

/** Behavior cloning of the accepted samples. It has no settings. */
export function behaviorCloning(): Operator {
  return behaviorCloningDefinition.create();
}
