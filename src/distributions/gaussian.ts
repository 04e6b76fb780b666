import type { Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { Distribution, DistributionFamily } from './distribution.js';

/**
 * The diagonal Gaussian.
 *
 * In each dimension, KL(p ‖ q) is the sum of a part due to the means, ½(μp − μq)²/σq², and a part due to the standard deviations,
 * ½(σp²/σq² − 1 − log(σp²/σq²)). MPO (arXiv 1812.02256, section 4.2.1) constrains the two decoupled: the first is then
 * ½(μp − μq)²/σp².
 *
 * Shapes: N samples per context, B contexts, A action dimensions.
 */

/** How the network's outputs become standard deviations, in canonical units: the action bounds are −1 and 1. */
export interface GaussianSettings {
  /** Floor of the standard deviation. */
  readonly minStddev: number;
  /** Standard deviation for network outputs of 0. */
  readonly initialStddev: number;
}

const logTwoPi = Math.log(2 * Math.PI);

class Gaussian implements Distribution {
  constructor(
    readonly parameters: Tensor2D,
    readonly mean: Tensor2D,
    readonly stddev: Tensor2D,
  ) {}

  sample(noise: Tensor3D): Tensor3D {
    return tf.add(this.mean, tf.mul(this.stddev, noise));
  }

  mode(): Tensor2D {
    return this.mean;
  }

  logProb(samples: Tensor3D): Tensor2D {
    const standard = tf.div(tf.sub(samples, this.mean), this.stddev);
    const normalizer = tf.sum(tf.add(tf.log(this.stddev), 0.5 * logTwoPi), -1);
    return tf.sub(tf.mul(tf.sum(tf.square(standard), -1), -0.5), normalizer);
  }

  entropy(): Tensor1D {
    return tf.sum(tf.add(tf.log(this.stddev), 0.5 * (logTwoPi + 1)), -1);
  }

  kl(other: this): Record<string, Tensor2D> {
    return { mean: meanPart(this, other, other.stddev), covariance: covariancePart(this, other) };
  }

  reverseKl(reference: this): Record<string, Tensor2D> {
    return this.kl(reference);
  }

  decoupledKl(other: this): Record<string, Tensor2D> {
    return { mean: meanPart(this, other, this.stddev), covariance: covariancePart(this, other) };
  }

  decoupledLogProb(samples: Tensor3D, reference: this): Record<string, Tensor2D> {
    return {
      mean: new Gaussian(this.parameters, this.mean, reference.stddev).logProb(samples),
      covariance: new Gaussian(this.parameters, reference.mean, this.stddev).logProb(samples),
    };
  }

  spread(): Tensor1D {
    return tf.mean(this.stddev, -1);
  }
}

function meanPart(p: Gaussian, q: Gaussian, stddev: Tensor2D): Tensor2D {
  return tf.mul(tf.square(tf.div(tf.sub(p.mean, q.mean), stddev)), 0.5);
}

function covariancePart(p: Gaussian, q: Gaussian): Tensor2D {
  const ratio = tf.square(tf.div(p.stddev, q.stddev));
  return tf.mul(tf.sub(tf.sub(ratio, 1), tf.log(ratio)), 0.5);
}

/**
 * The Gaussian of the given means and standard deviations, [B, A] each: a policy whose parameters are not the outputs of a
 * network.
 */
export function gaussian(mean: Tensor2D, stddev: Tensor2D): Distribution {
  return new Gaussian(tf.concat([mean, stddev], -1), mean, stddev);
}

/**
 * The Gaussian head. The first A outputs give the mean through a tanh, which keeps it within the action bounds: an unbounded mean
 * drifts far outside and stops learning. The other A outputs give the standard deviation, `minStddev` plus a softplus that is
 * scaled so that an output of 0 gives `initialStddev`.
 */
export function gaussianFamily({ minStddev, initialStddev }: GaussianSettings): DistributionFamily {
  const scale = (initialStddev - minStddev) / Math.LN2;
  return {
    name: 'gaussian',
    noise: 'normal',
    exceedsBounds: true,
    parameterCount: (actionDimensions) => 2 * actionDimensions,
    klParts: (actionDimensions) => ({ mean: actionDimensions, covariance: actionDimensions }),
    allActions: () => undefined,
    create(outputs, actionDimensions) {
      const [mean, spread] = tf.split<Tensor2D>(outputs, [actionDimensions, actionDimensions], -1);
      const stddev: Tensor2D = tf.add(tf.mul(tf.softplus(spread), scale), minStddev);
      return new Gaussian(outputs, tf.tanh(mean), stddev);
    },
  };
}
