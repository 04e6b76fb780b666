import { PmpoError } from '../core/errors.js';
import type { Scalar, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { Feedback, FeedbackInput, TensorClassifier } from './classifier.js';

/** A classifier may be a user's code: what it returns is checked, and problems are reported under its name. */

/** The range of a weight, for error messages. */
export const rangeRule = 'accept and reject weights must be numbers from 0 to 1';

function fault(name: string, what: string, cause?: unknown): PmpoError {
  return new PmpoError({ where: `feedback '${name}'`, what, cause });
}

function checkTensor(name: string, side: string, value: unknown, [n, b]: readonly number[]): Tensor2D {
  if (!(value instanceof tf.Tensor))
    throw fault(name, `${side} must be a tensor. Return {accept, reject}, [N, B] each`);
  if (value.shape.length !== 2 || value.shape[0] !== n || value.shape[1] !== b) {
    throw fault(name, `${side} has the shape [${value.shape}]. It must be [N, B] = [${n}, ${b}]`);
  }
  return tf.cast(value as Tensor2D, 'float32');
}

/**
 * Runs a classifier of tensor operations and checks the types and shapes of its weights. Their values are not known while a
 * function is compiled, so invalid ones are counted in the graph.
 *
 * @returns the feedback, with weights that are NaN or outside [0, 1] replaced by 0, and the number of those inside the mask. If
 *   it is not 0, the caller must end the run with `invalidFeedback` before the parameters are used.
 * @throws PmpoError naming the classifier if it throws or returns another shape.
 */
export function classifyChecked(
  name: string,
  classifier: TensorClassifier,
  input: FeedbackInput,
): { feedback: { accept: Tensor2D; reject: Tensor2D }; invalid: Scalar } {
  let raw: Feedback;
  try {
    raw = classifier.classify(input);
  } catch (cause) {
    throw fault(name, `it threw: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  const shape = input.evaluation.shape;
  const present = tf.greater(input.mask, 0);
  const sides = (['accept', 'reject'] as const).map((side) => {
    const weights = checkTensor(name, side, raw?.[side], shape);
    // NaN fails both comparisons.
    const valid = tf.logicalAnd(tf.greaterEqual(weights, 0), tf.lessEqual(weights, 1));
    const wrong = tf.logicalAnd(present, tf.logicalNot(valid));
    const usable = tf.logicalAnd(present, valid);
    return {
      weights: tf.where(usable, weights, tf.zerosLike(weights)),
      invalid: tf.sum(tf.cast(wrong, 'float32')),
    };
  });
  return {
    feedback: { accept: sides[0].weights, reject: sides[1].weights },
    invalid: tf.add(sides[0].invalid, sides[1].invalid),
  };
}

/** The error for `count` invalid weights. */
export function invalidFeedback(name: string, count: number, update: number): PmpoError {
  return fault(
    name,
    `it returned ${count} weights that are NaN or out of range at update ${update}; ${rangeRule}`,
  );
}
