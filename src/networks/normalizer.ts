import type { NamedHostTensors, NamedTensors, NamedVariables, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * Observation normalization: networks see (x − μ)/σ with the running mean μ and standard deviation σ of each observation, within
 * ±10. The statistics belong to the policy's parameters, so that whatever acts with the policy (remote actors, an exported model)
 * normalizes as the learner does. Shapes: B observations, O observation size.
 */

/** The names of the statistics among a policy's parameters. */
const names = {
  mean: 'normalizer/mean',
  variance: 'normalizer/variance',
  count: 'normalizer/count',
} as const;

/** Normalized observations lie within ± this, as in Stable-Baselines3's VecNormalize. */
const limit = 10;

/** Statistics before any observation. */
export function initNormalizer(observationSize: number): NamedHostTensors {
  return {
    [names.mean]: { shape: [observationSize], data: new Float32Array(observationSize) },
    [names.variance]: { shape: [observationSize], data: new Float32Array(observationSize).fill(1) },
    [names.count]: { shape: [], data: new Float32Array(1) },
  };
}

/** A running mean and variance, of the shape of one row. */
export interface Statistics {
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/**
 * The smallest deviation that counts, as a share of the mean, because smaller ones are rounding errors of float32; and one above 0 for
 * a mean of 0.
 */
const smallest = { relative: 1e-4, absolute: 1e-12 };

/** σ of a running mean and variance: never 0, so that what never changes becomes 0. */
export function deviationOf({ mean, variance }: Statistics): Tensor {
  const floor = tf.add(tf.mul(tf.square(mean), smallest.relative ** 2), smallest.absolute ** 2);
  return tf.sqrt(tf.maximum(variance, floor));
}

/**
 * Statistics together with those of the rows of `batch`, which make up `share` of the total (the parallel algorithm of Chan, Golub and
 * LeVeque, 1979). It works on shares of the total rather than on sums, so that float32 loses nothing however many rows there have been.
 */
export function mergedStatistics({ mean, variance }: Statistics, batch: Tensor, share: Tensor): Statistics {
  const batchMean = tf.mean(batch, 0);
  const batchVariance = tf.mean(tf.square(tf.sub(batch, batchMean)), 0);
  const difference = tf.sub(batchMean, mean);
  const between = tf.mul(tf.mul(share, tf.sub(1, share)), tf.square(difference));
  const within = tf.add(tf.mul(tf.sub(1, share), variance), tf.mul(share, batchVariance));
  return { mean: tf.add(mean, tf.mul(share, difference)), variance: tf.add(within, between) };
}

/** Adds observations [B, O] to the statistics. */
export function observe(normalizer: NamedVariables, observations: Tensor2D): void {
  const { [names.mean]: mean, [names.variance]: variance, [names.count]: count } = normalizer;
  const rows = observations.shape[0];
  const total = tf.add(count, rows);
  const share = tf.div(rows, total);
  const merged = mergedStatistics({ mean, variance }, observations, share);
  mean.assign(merged.mean);
  variance.assign(merged.variance);
  count.assign(total);
}

/** Normalized observations [B, O], or the observations themselves if `parameters` hold no statistics. */
export function normalized(parameters: NamedTensors, observations: Tensor2D): Tensor2D {
  const mean = parameters[names.mean];
  if (mean === undefined) return observations;
  const deviation = deviationOf({ mean, variance: parameters[names.variance] });
  return tf.clipByValue(tf.div(tf.sub(observations, mean), deviation), -limit, limit);
}
