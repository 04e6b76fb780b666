import type { Scalar, Tensor1D, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { ScalarMetrics } from '../improvement-step.js';
import type { DrawnSamples, UpdateInputs } from './update.js';

/**
 * How much a batch can teach, as metrics; `LearningWatch` reads them. Shapes: N samples, B contexts.
 *
 * - `feedback/tieRate`: the share of contexts whose samples all have the same value, so that what is accepted and what is rejected does
 *   not differ;
 * - `critic/sampleStddev`: the standard deviation of the values of a context's samples, averaged over the contexts;
 * - `critic/contextStddev`: the standard deviation of the contexts' values;
 * - `critic/returnRange`: the largest of the batch's n-step returns minus the smallest; and, because equal rewards still tell a longer
 *   episode from one that ends, the range of the discounts times the largest return.
 */
export function signalMetrics({
  evaluation,
  mask,
  baseline,
  returns,
  discounts,
}: Pick<
  UpdateInputs & DrawnSamples,
  'evaluation' | 'mask' | 'baseline' | 'returns' | 'discounts'
>): ScalarMetrics {
  const present = tf.greater(mask, 0);
  const greatest: Tensor1D = tf.max(tf.where(present, evaluation, tf.fill(evaluation.shape, -3e38)), 0);
  const least: Tensor1D = tf.min(tf.where(present, evaluation, tf.fill(evaluation.shape, 3e38)), 0);
  const weight: Tensor1D = tf.sum(mask, 0);
  const center: Tensor1D = tf.div(tf.sum(tf.mul(mask, evaluation), 0), weight);
  const deviations: Tensor2D = tf.mul(mask, tf.square(tf.sub(evaluation, center)));
  return {
    'feedback/tieRate': tf.mean(tf.cast(tf.lessEqual(greatest, least), 'float32')),
    'critic/sampleStddev': tf.mean(tf.sqrt(tf.div(tf.sum(deviations, 0), weight))),
    'critic/contextStddev': stddev(baseline),
    'critic/returnRange': tf.add(
      rangeOf(returns),
      tf.mul(tf.max<Scalar>(tf.abs(returns)), rangeOf(discounts)),
    ),
  };
}

/** The largest of values [B] minus the smallest. */
function rangeOf(values: Tensor1D): Scalar {
  return tf.sub(tf.max<Scalar>(values), tf.min<Scalar>(values));
}

/** The population standard deviation of values [B]. */
function stddev(values: Tensor1D): Scalar {
  return tf.sqrt(tf.mean<Scalar>(tf.square(tf.sub(values, tf.mean(values)))));
}
