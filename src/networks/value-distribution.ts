import type { Scalar, Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * A critic that says how likely each value is: a histogram of K bins, trained by cross-entropy. Its value is the mean of the histogram. A
 * target is the histogram of a Gaussian around it, so that neighboring bins learn from it too: HL-Gauss, "Stop Regressing"
 * (arXiv 2403.03950, section 3.1). Values are normalized as value-normalizer.ts says.
 *
 * The output layer gives K+1 numbers: a location h, and a logit r_k for each bin, which changes the shape. The histogram's logits are
 *
 *     l_k = (h·c_k − c_k²/2) / s² + r_k
 *
 * with the middles c_k of the bins and the deviation s of a target. Without r, it is a Gaussian around h, as a target is one around y. The
 * gradient of the cross-entropy for h is that of a squared error, (E[c] − y) / s². Logits alone must change by (c/s)² for a Gaussian that
 * moves by c, which is thousands, and Adam changes all weights at one speed: such a critic lags behind rare values. Shapes: B contexts,
 * K bins, H hidden units; .. any shape.
 */

/** The bins have equal widths and cover ± this many standard deviations of the targets; values beyond belong to the outermost bins. */
const limit = 10;

/** The deviation of a target's Gaussian as a multiple of a bin's width. The paper recommends 0.75. */
const smoothing = 0.75;

const binWidth = (bins: number) => (2 * limit) / bins;

/** s, the standard deviation of a target's Gaussian. */
const targetDeviation = (bins: number) => smoothing * binWidth(bins);

/** The numbers that the output layer of a critic with K bins gives: K + 1. */
export const histogramOutputs = (bins: number): number => bins + 1;

/** The middles of the bins, [K]. */
function binCenters(bins: number): Tensor1D {
  return tf.add(tf.mul(tf.range(0, bins, 1, 'float32'), binWidth(bins)), binWidth(bins) / 2 - limit);
}

/** The location h [.., 1] and the shape r [.., K] of outputs [.., K+1]. */
function locationAndShape<T extends Tensor>(outputs: T): [location: T, shape: T] {
  const [location, shape] = tf.split(outputs, [1, outputs.shape.at(-1)! - 1], -1);
  return [location as T, shape as T];
}

/** The logits l [.., K] of the histograms that outputs [.., K+1] describe. */
export function histogramLogits(outputs: Tensor): Tensor {
  const [location, shape] = locationAndShape(outputs);
  const bins = shape.shape.at(-1)!;
  const centers = binCenters(bins);
  const gaussian = tf.sub(tf.mul(location, centers), tf.div(tf.square(centers), 2));
  return tf.add(tf.div(gaussian, targetDeviation(bins) ** 2), shape);
}

/** The mean Σ_k p_k · c_k of the histograms with logits [.., K], [..]. */
export function expectedValue(logits: Tensor): Tensor {
  const bins = logits.shape.at(-1)!;
  return tf.sum(tf.mul(tf.softmax(logits), binCenters(bins)), -1);
}

/**
 * The histograms [B, K] of targets y [B]: p_k ∝ Φ((e_{k+1} − y)/s) − Φ((e_k − y)/s) with the edges e of the bins and the distribution
 * function Φ of the standard normal distribution. A target beyond the middle of an outermost bin counts as that.
 */
export function targetHistograms(targets: Tensor1D, bins: number): Tensor2D {
  const width = binWidth(bins);
  const outermost = limit - width / 2;
  const inside = tf.expandDims(tf.clipByValue(targets, -outermost, outermost), 1);
  const edges = tf.sub(tf.mul(tf.range(0, bins + 1, 1, 'float32'), width), limit);
  const below = tf.erf(tf.div(tf.sub(edges, inside), Math.SQRT2 * targetDeviation(bins))) as Tensor2D;
  const mass = tf.sub(tf.slice(below, [0, 1], [-1, bins]), tf.slice(below, [0, 0], [-1, bins]));
  return tf.div(mass, tf.sum(mass, 1, true));
}

/** The cross-entropy −Σ_k p_k · log softmax(logits)_k of target histograms p [B, K] and logits [B, K], averaged over the contexts. */
export function crossEntropy(histograms: Tensor2D, logits: Tensor2D): Scalar {
  return tf.neg(tf.mean(tf.sum(tf.mul(histograms, tf.logSoftmax(logits)), 1)));
}

/** A change of the unit of values, from z to z' = (z − shift)/scale. Both are scalars. */
export interface UnitChange {
  readonly scale: Tensor;
  readonly shift: Tensor;
}

/**
 * The matrix [K, K] by which the logits r are multiplied when the unit of values changes: the logit of each bin becomes that of the same
 * values in the old unit, interpolated between bins. Beyond the old bins it is that of the outermost one.
 */
export function resampling(bins: number, { scale, shift }: UnitChange): Tensor2D {
  const former = tf.add(tf.mul(binCenters(bins), scale), shift);
  const places = tf.clipByValue(
    tf.div(tf.add(former, limit - binWidth(bins) / 2), binWidth(bins)),
    0,
    bins - 1,
  );
  const distances = tf.abs(
    tf.sub(tf.expandDims(places, 0), tf.expandDims(tf.range(0, bins, 1, 'float32'), 1)),
  );
  return tf.relu(tf.sub(1, distances)) as Tensor2D;
}

/**
 * An output layer, weights [H, K+1] and bias [K+1], in another unit: h becomes (h − shift)/scale, and r is resampled. The mean of a
 * histogram then stays what it was. Its Gaussian keeps the deviation s of targets, which the unit changes with them.
 */
export function outputInUnit(
  { weight, bias }: { readonly weight: Tensor2D; readonly bias: Tensor1D },
  change: UnitChange,
): { weight: Tensor2D; bias: Tensor1D } {
  const inUnit = (rows: Tensor2D, shift: Tensor | number): Tensor2D => {
    const [location, shape] = locationAndShape(rows);
    const moved: Tensor2D = tf.div(tf.sub(location, shift), change.scale);
    return tf.concat([moved, tf.matMul(shape, resampling(shape.shape[1], change))], 1);
  };
  return {
    weight: inUnit(weight, 0),
    bias: tf.squeeze(inUnit(tf.expandDims(bias, 0), change.shift), [0]),
  };
}
