import type { Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { Distribution, DistributionFamily } from './distribution.js';

/**
 * The diagonal Gaussian. Letters: N samples, B contexts, A action dimensions.
 *
 * KL(p ‖ q) between diagonal Gaussians divides, per dimension, into a part that only a difference of means makes,
 * ½(μp − μq)²/σq², and one that only a difference of deviations makes, ½(σp²/σq² − 1 − log(σp²/σq²)). The two add up to the
 * whole exactly. MPO (arXiv 1812.02256, section 4.2.1) constrains them decoupled: the same two terms, with the mean's
 * measured by p's own deviation.
 */

export interface GaussianSettings {
  /** Floor of the standard deviation. */
  readonly minStddev: number;
  /** Standard deviation for a network output of 0. */
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
    return tf.add(this.mean, tf.mul(this.stddev, noise)) as Tensor3D;
  }

  mode(): Tensor2D {
    return this.mean;
  }

  logProb(samples: Tensor3D): Tensor2D {
    const standard = tf.div(tf.sub(samples, this.mean), this.stddev);
    const normaliser = tf.sum(tf.add(tf.log(this.stddev), 0.5 * logTwoPi), -1);
    return tf.sub(tf.mul(tf.sum(tf.square(standard), -1), -0.5), normaliser) as Tensor2D;
  }

  entropy(): Tensor1D {
    return tf.sum(tf.add(tf.log(this.stddev), 0.5 * (logTwoPi + 1)), -1) as Tensor1D;
  }

  kl(other: this): Record<string, Tensor2D> {
    return { mean: meanPart(this, other, other.stddev), covariance: covariancePart(this, other) };
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
    return tf.mean(this.stddev, -1) as Tensor1D;
  }
}

function meanPart(p: Gaussian, q: Gaussian, stddev: Tensor2D): Tensor2D {
  return tf.mul(tf.square(tf.div(tf.sub(p.mean, q.mean), stddev)), 0.5) as Tensor2D;
}

function covariancePart(p: Gaussian, q: Gaussian): Tensor2D {
  const ratio = tf.square(tf.div(p.stddev, q.stddev));
  return tf.mul(tf.sub(tf.sub(ratio, 1), tf.log(ratio)), 0.5) as Tensor2D;
}

/** A Gaussian of given means and deviations, [B, A] each: for tests and for policies that are not networks. */
export function gaussian(mean: Tensor2D, stddev: Tensor2D): Distribution {
  return new Gaussian(tf.concat([mean, stddev], -1), mean, stddev);
}

/**
 * The Gaussian head: the first A outputs make the mean, through tanh (the mean stays within the action bounds, where an
 * unbounded one drifts far outside and stops learning); the others the deviation, a softplus scaled so that 0 gives
 * `initialStddev`, above the floor `minStddev`.
 */
export function gaussianFamily({ minStddev, initialStddev }: GaussianSettings): DistributionFamily {
  const scale = (initialStddev - minStddev) / Math.LN2;
  return {
    name: 'gaussian',
    noise: 'normal',
    exceedsBounds: true,
    parameterCount: (actionDimensions) => 2 * actionDimensions,
    klParts: (actionDimensions) => ({ mean: actionDimensions, covariance: actionDimensions }),
    create(outputs, actionDimensions) {
      const [raw, width] = tf.split(outputs, [actionDimensions, actionDimensions], -1);
      const stddev = tf.add(tf.mul(tf.softplus(width), scale), minStddev);
      return new Gaussian(outputs, tf.tanh(raw) as Tensor2D, stddev as Tensor2D);
    },
  };
}
