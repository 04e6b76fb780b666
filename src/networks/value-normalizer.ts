import type {
  NamedHostTensors,
  NamedTensors,
  NamedVariables,
  Tensor,
  Tensor1D,
  Tensor2D,
} from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { deviationOf, mergedStatistics } from './normalizer.js';
import { outputInUnit } from './value-distribution.js';

/**
 * Critics whose outputs are (Q − μ)/σ with the running mean μ and standard deviation σ of their targets, so that rewards of any scale
 * are learned alike. When the statistics move, the output layers are rewritten so that Q stays what it was: PopArt, "Preserving
 * outputs precisely, while adaptively rescaling targets" (arXiv 1602.07714, algorithm 1). The logits of a critic with several outputs are
 * resampled instead, so that the histogram covers other values and stays the same histogram. Shapes: B contexts.
 */

/** The share of the newest batch in the statistics never falls below this, because targets change while a policy learns. */
const smallestShare = 1e-3;

/** The statistics before any target: every value is 0, so that the first targets are rewards and have their scale. */
export function initValueNormalizer(): NamedHostTensors {
  const scalar = (value: number) => ({ shape: [], data: Float32Array.of(value) });
  return { mean: scalar(0), variance: scalar(0), count: scalar(0) };
}

/** σ, a scalar; 1 if there are no statistics. */
function deviation({ mean, variance }: NamedTensors): Tensor {
  return mean === undefined || variance === undefined ? tf.scalar(1) : deviationOf({ mean, variance });
}

/** Q of the outputs of a critic; the outputs themselves if there are no statistics. */
export function valuesOf<T extends Tensor>(normalizer: NamedTensors, outputs: T): T {
  if (normalizer.mean === undefined) return outputs;
  return tf.add(tf.mul(outputs, deviation(normalizer)), normalizer.mean) as T;
}

/** (targets − μ)/σ of targets [B]; the targets themselves if there are no statistics. */
export function normalizedTargets(normalizer: NamedTensors, targets: Tensor1D): Tensor1D {
  if (normalizer.mean === undefined) return targets;
  return tf.div(tf.sub(targets, normalizer.mean), deviation(normalizer));
}

/**
 * Adds targets [B] to the statistics, and rewrites the output layers of `critics` so that `valuesOf` their outputs does not change.
 * Does nothing if there are no statistics.
 */
export function observeTargets(
  normalizer: NamedVariables,
  targets: Tensor1D,
  critics: readonly NamedVariables[],
): void {
  const { mean, variance, count } = normalizer;
  if (mean === undefined || variance === undefined || count === undefined) return;
  const total = tf.add(count, 1);
  const share = tf.maximum(tf.div(1, total), smallestShare);
  const merged = mergedStatistics({ mean, variance }, targets, share);
  const before = deviationOf({ mean, variance });
  const after = deviationOf(merged);
  // Before the first targets there are no values to preserve.
  const isFirst = tf.equal(count, 0);
  const unchanged = (changed: Tensor, value: number) => tf.where(isFirst, tf.fill([], value), changed);
  const ratio = unchanged(tf.div(before, after), 1);
  const shift = unchanged(tf.div(tf.sub(mean, merged.mean), after), 0);
  const inverse = {
    scale: unchanged(tf.div(after, before), 1),
    shift: unchanged(tf.div(tf.sub(merged.mean, mean), before), 0),
  };
  for (const critic of critics) {
    const { 'output/weight': weight, 'output/bias': bias } = critic;
    if (bias!.shape[0] === 1) {
      weight!.assign(tf.mul(weight!, ratio));
      bias!.assign(tf.add(tf.mul(bias!, ratio), shift));
    } else {
      const output = outputInUnit({ weight: weight as Tensor2D, bias: bias as Tensor1D }, inverse);
      weight!.assign(output.weight);
      bias!.assign(output.bias);
    }
  }
  mean.assign(merged.mean);
  variance.assign(merged.variance);
  count.assign(total);
}
