import type { Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { Distribution, DistributionFamily } from './distribution.js';

/**
 * A categorical distribution for each action dimension, dimensions independent: over equally spaced values, −1 and 1
 * included, K at most; a dimension of one value has it at 0. Letters: N samples, B contexts, A action dimensions, K bins.
 */

/** What stands for a probability of 0 among logits: finite, so that 0 · log 0 is 0 and no gradient is NaN. */
const impossible = -1e9;

class Categorical implements Distribution {
  /** log-probs of the bins, [B, A, K]. */
  readonly #logits: Tensor3D;
  /** Bins of each dimension, [A]. */
  readonly #counts: readonly number[];
  /** K */
  readonly #bins: number;

  constructor(
    readonly parameters: Tensor2D,
    counts: readonly number[],
  ) {
    this.#counts = counts;
    this.#bins = Math.max(...counts);
    const shape: [number, number, number] = [parameters.shape[0], counts.length, this.#bins];
    const raw = tf.reshape(parameters, shape);
    this.#logits = tf.logSoftmax(this.#masked(raw), -1) as Tensor3D;
  }

  get #equal(): boolean {
    return this.#counts.every((count) => count === this.#bins);
  }

  /** Logits [B, A, K] with those of bins that a dimension does not have out of reach. */
  #masked(logits: tf.Tensor): tf.Tensor {
    if (this.#equal) return logits;
    const own = this.#counts.flatMap((count) =>
      Array.from({ length: this.#bins }, (_, k) => Number(k < count)),
    );
    const has = tf.tensor(own, [1, this.#counts.length, this.#bins]);
    return tf.add(tf.mul(logits, has), tf.mul(tf.sub(1, has), impossible));
  }

  /** One number for each dimension, broadcast against [.., A]; a single one where all dimensions are alike. */
  #each(of: (count: number) => number): tf.Tensor | number {
    return this.#equal ? of(this.#bins) : tf.tensor1d(this.#counts.map(of));
  }

  /** The bin each sample lies nearest to, as 0 … K−1. */
  #indices(samples: Tensor3D): Tensor3D {
    const scaled = tf.mul(
      tf.add(samples, 1),
      this.#each((count) => (count - 1) / 2),
    );
    const rounded = tf.round(scaled);
    if (this.#equal) return tf.clipByValue(rounded, 0, this.#bins - 1) as Tensor3D;
    return tf.maximum(
      tf.minimum(
        rounded,
        this.#each((count) => count - 1),
      ),
      0,
    ) as Tensor3D;
  }

  /** What indices [.., A] stand for. */
  #values(indices: tf.Tensor): tf.Tensor {
    const scale = this.#each((count) => (count > 1 ? 2 / (count - 1) : 0));
    return tf.sub(
      tf.mul(indices, scale),
      this.#each((count) => (count > 1 ? 1 : 0)),
    );
  }

  sample(noise: Tensor3D): Tensor3D {
    // Inverse of the cumulative distribution: as many bins lie below the sample as have a cumulative sum under u. The last
    // sum is left out: it may round to just below 1.
    // The axis is counted from the front: TensorFlow.js's own kernel gets −1 wrong.
    const cumulative = tf.cumsum(tf.exp(this.#logits), 2);
    const inner = tf.slice(cumulative, [0, 0, 0], [-1, -1, this.#bins - 1]);
    const above = tf.cast(tf.less(tf.expandDims(inner, 0), tf.expandDims(noise, -1)), 'float32');
    const indices = tf.sum(above, -1);
    // A dimension with fewer bins has its last sum among them.
    const own = this.#equal
      ? indices
      : tf.minimum(
          indices,
          this.#each((count) => count - 1),
        );
    return this.#values(own) as Tensor3D;
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
    const indices = tf.range(0, this.#bins, 1, 'float32');
    const values = this.#equal
      ? this.#values(indices)
      : // Dimensions last, as everywhere but here.
        tf.transpose(this.#values(tf.expandDims(indices, -1)), [1, 0]);
    const mean = tf.sum(tf.mul(probabilities, values), -1, true);
    const variance = tf.sum(tf.mul(probabilities, tf.squaredDifference(values, mean)), -1);
    return tf.mean(tf.sqrt(tf.add(variance, 1e-12)), -1) as Tensor1D;
  }
}

/** The discretised head: as many logits for each action dimension as the largest has bins. [A] */
export function categoricalFamily({ bins }: { readonly bins: readonly number[] }): DistributionFamily {
  return {
    name: 'categorical',
    noise: 'uniform',
    exceedsBounds: false,
    parameterCount: () => bins.length * Math.max(...bins),
    klParts: () => ({ categorical: bins.length }),
    create: (outputs) => new Categorical(outputs, bins),
  };
}
