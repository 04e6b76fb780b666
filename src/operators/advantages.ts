import type { Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { expectation, maskedMean, where0 } from './masking.js';
import type { CheckedBatch, OperatorResult } from './operator.js';

/** Advantages of samples over the other samples of their context. Shapes: N samples per context, B contexts. */

/**
 * f(x, y) − V(x), [N, B]; 0 outside the mask. V(x) is `baseline`, [B], or the mean of f over the context's present samples: those of equal
 * evaluation then have advantages of exactly 0.
 */
export function advantages(evaluation: Tensor2D, mask: Tensor2D, baseline?: Tensor1D): Tensor2D {
  if (baseline !== undefined) return where0(tf.sub(evaluation, baseline), mask);
  // Differences to the best sample are exact where evaluations are equal; a mean of equal numbers is not.
  const best = tf.max<Tensor2D>(
    tf.where(tf.greater(mask, 0), evaluation, tf.fill(mask.shape, -3e38)),
    0,
    true,
  );
  const behind = where0(tf.sub(evaluation, best), mask);
  return where0(tf.sub(behind, maskedMean(behind, mask)), mask);
}

/**
 * K/(K − 1) for a context whose mask adds up to K present samples, [1, B]; 1 for a single sample. Times the advantage it is f − mean of
 * the *other* samples' f, and times the mean square of the advantages it is their variance without bias. It is 1 too where the mask
 * holds the probabilities of all actions, which add up to 1: means are then exact, and there is no bias to take out.
 */
export function besselFactor(mask: Tensor2D): Tensor2D {
  const total: Tensor2D = tf.sum(mask, 0, true);
  // Halfway between one sample and two, because probabilities add up to 1 but for rounding.
  const present = tf.where(tf.greater(total, 1.5), total, tf.fill(total.shape, 1));
  return tf.div(present, tf.maximum(tf.sub(present, 1), 1));
}

/**
 * The weighted negative log-likelihood, −E_x E_y w·log π_θ(y|x), over the present samples.
 * @param weights w, [N, B], without gradient
 */
export function weightedLikelihoodLoss(logProb: Tensor2D, weights: Tensor2D, mask: Tensor2D): Scalar {
  return tf.neg(expectation(tf.mul(weights, where0(logProb, mask)), mask));
}

/** The weighted likelihood alone as an operator's result, with the mean weight; see `weightedLikelihoodLoss`. */
export function weightedLikelihood({ logProb, mask }: CheckedBatch, weights: Tensor2D): OperatorResult {
  const loss = weightedLikelihoodLoss(logProb, weights, mask);
  return { loss, metrics: { 'policy/loss': loss, 'policy/weight': expectation(weights, mask) } };
}

/** min(exp(A/β), largest), [N, B]. */
export function exponentialWeights(advantage: Tensor2D, beta: number, largest: number): Tensor2D {
  return tf.minimum(tf.exp(tf.div(advantage, beta)), largest);
}
