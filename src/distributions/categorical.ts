import type { Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { Distribution, DistributionFamily } from './distribution.js';

/**
 * A categorical distribution over K equally spaced values of each action dimension, −1 and 1 included; dimensions are
 * independent. Letters: N samples, B contexts, A action dimensions, K bins.
 */

class Categorical implements Distribution {
  /** log-probs of the bins, [B, A, K]. */
  readonly #logits: Tensor3D;
  readonly #bins: number;

  constructor(
    readonly parameters: Tensor2D,
    actionDimensions: number,
    bins: number,
  ) {
    this.#bins = bins;
    this.#logits = tf.logSoftmax(
      tf.reshape(parameters, [parameters.shape[0], actionDimensions, bins]),
      -1,
    ) as Tensor3D;
  }

  /** The bin each sample lies nearest to, as 0 … K−1. */
  #indices(samples: Tensor3D): Tensor3D {
    const scaled = tf.mul(tf.add(samples, 1), (this.#bins - 1) / 2);
    return tf.clipByValue(tf.round(scaled), 0, this.#bins - 1) as Tensor3D;
  }

  #values(indices: tf.Tensor): tf.Tensor {
    return tf.sub(tf.mul(indices, 2 / (this.#bins - 1)), 1);
  }

  sample(noise: Tensor3D): Tensor3D {
    // Inverse of the cumulative distribution: as many bins lie below the sample as have a cumulative sum under u. The last
    // sum is left out: it may round to just below 1.
    // The axis is counted from the front: TensorFlow.js's own kernel gets −1 wrong.
    const cumulative = tf.cumsum(tf.exp(this.#logits), 2);
    const inner = tf.slice(cumulative, [0, 0, 0], [-1, -1, this.#bins - 1]);
    const above = tf.cast(tf.less(tf.expandDims(inner, 0), tf.expandDims(noise, -1)), 'float32');
    return this.#values(tf.sum(above, -1)) as Tensor3D;
  }

  mode(): Tensor2D {
    // The most likely bin, not the mean: between two equally good torques the mean may be one that does nothing.
    return this.#values(tf.cast(tf.argMax(this.#logits, -1), 'float32')) as Tensor2D;
  }

  logProb(samples: Tensor3D): Tensor2D {
    const places = tf.range(0, this.#bins, 1, 'float32');
    const chosen = tf.cast(tf.equal(tf.expandDims(this.#indices(samples), -1), places), 'float32');
    return tf.sum(tf.mul(chosen, this.#logits), [-2, -1]) as Tensor2D;
  }

  entropy(): Tensor1D {
    return tf.neg(tf.sum(tf.mul(tf.exp(this.#logits), this.#logits), [-2, -1])) as Tensor1D;
  }

  kl(other: this): Record<string, Tensor2D> {
    const difference = tf.sub(this.#logits, other.#logits);
    return { categorical: tf.sum(tf.mul(tf.exp(this.#logits), difference), -1) as Tensor2D };
  }

  spread(): Tensor1D {
    const probabilities = tf.exp(this.#logits);
    const values = this.#values(tf.range(0, this.#bins, 1, 'float32'));
    const mean = tf.sum(tf.mul(probabilities, values), -1, true);
    const variance = tf.sum(tf.mul(probabilities, tf.squaredDifference(values, mean)), -1);
    return tf.mean(tf.sqrt(tf.add(variance, 1e-12)), -1) as Tensor1D;
  }
}

/** The discretised head: `bins` logits for each action dimension. */
export function categoricalFamily({ bins }: { readonly bins: number }): DistributionFamily {
  return {
    name: 'categorical',
    noise: 'uniform',
    parameterCount: (actionDimensions) => actionDimensions * bins,
    klParts: (actionDimensions) => ({ categorical: actionDimensions }),
    create: (outputs, actionDimensions) => new Categorical(outputs, actionDimensions, bins),
  };
}
