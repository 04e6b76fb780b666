import { z } from 'zod';
import type { Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { EvaluationClassifier } from './classifier.js';
import { defineFeedback } from './define.js';
import { allPresent, indicator } from './ranking.js';

/** The mean evaluation of each context's samples, [B]; 0 for a context without samples. */
function meanEvaluation(evaluation: Tensor2D, mask: Tensor2D): Tensor1D {
  const present = tf.where(tf.greater(mask, 0), evaluation, tf.zerosLike(evaluation));
  return tf.div(tf.sum(present, 0), tf.maximum(tf.sum(mask, 0), 1));
}

/** Differences from V(x) below this share of |V(x)| are rounding: a context whose samples are all alike must not be judged by it. */
const rounding = 1e-6;

/**
 * Accepts samples with f(x, y) > V(x) and rejects those with f(x, y) < V(x): the sign of the advantage (arXiv 2410.04166, section 3).
 * A sample whose evaluation equals V(x) up to rounding is neither.
 */
export function valueBaseline(): EvaluationClassifier {
  return {
    provides: { accepts: true, rejects: true },
    classify: ({
      evaluation,
      mask = allPresent(evaluation),
      baseline = meanEvaluation(evaluation, mask),
    }) => {
      const margin = tf.mul(tf.abs(baseline), rounding);
      return {
        accept: indicator(tf.greater(evaluation, tf.add(baseline, margin)), mask),
        reject: indicator(tf.less(evaluation, tf.sub(baseline, margin)), mask),
      };
    },
  };
}

export const valueBaselineDefinition = defineFeedback({
  name: 'value-baseline',
  description:
    "Accepts samples above the context's value and rejects samples below it: the sign of the advantage",
  settings: z.strictObject({}),
  create: valueBaseline,
});
