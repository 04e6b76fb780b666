import type { Scalar, Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * A critic that says how likely each value is: K logits for the bins of a histogram, trained by cross-entropy. Its value is the mean of the
 * histogram. A target is the histogram of a Gaussian around it, so that neighboring bins learn from it too: HL-Gauss, "Stop Regressing"
 * (arXiv 2403.03950, section 3.1). Values are normalized as value-normalizer.ts says. Shapes: B contexts, K bins; .. any shape.
 */

/** The bins have equal widths and cover ± this many standard deviations of the targets; values beyond belong to the outermost bins. */
const limit = 10;

/** The standard deviation of a target's Gaussian, as a multiple of a bin's width. The paper recommends 0.75. */
const smoothing = 0.75;

const binWidth = (bins: number) => (2 * limit) / bins;

/** The middles of the bins, [K]. */
function binCenters(bins: number): Tensor1D {
  return tf.add(tf.mul(tf.range(0, bins, 1, 'float32'), binWidth(bins)), binWidth(bins) / 2 - limit);
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
  const below = tf.erf(tf.div(tf.sub(edges, inside), Math.SQRT2 * smoothing * width)) as Tensor2D;
  const mass = tf.sub(tf.slice(below, [0, 1], [-1, bins]), tf.slice(below, [0, 0], [-1, bins]));
  return tf.div(mass, tf.sum(mass, 1, true));
}

/** The cross-entropy −Σ_k p_k · log softmax(logits)_k of target histograms p [B, K] and logits [B, K], averaged over the contexts. */
export function crossEntropy(histograms: Tensor2D, logits: Tensor2D): Scalar {
  return tf.neg(tf.mean(tf.sum(tf.mul(histograms, tf.logSoftmax(logits)), 1)));
}

/**
 * The matrix [K, K] by which the output layer of a critic is multiplied when the unit of values changes from z to z' = (z − shift)/scale:
 * the logit of each bin becomes that of the same values in the old unit, interpolated between bins. Beyond the old bins it is that of the
 * outermost one.
 */
export function resampling(bins: number, { scale, shift }: { scale: Tensor; shift: Tensor }): Tensor2D {
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
