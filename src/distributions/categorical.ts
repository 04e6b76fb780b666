import type { HostTensor, Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { Distribution, DistributionFamily } from './distribution.js';

/**
 * Independent categorical distributions, one for each action dimension, over at most K equally spaced values from −1 to 1. The
 * value of a dimension that has only one is 0.
 *
 * Shapes: N samples per context, B contexts, A action dimensions, K bins.
 */

/** The logit of an impossible value: finite, so that 0 · log 0 is 0 and no gradient is NaN. */
const impossible = -1e9;

class Categorical implements Distribution {
  /** Log-probs of the bins, [B, A, K]. */
  readonly #logits: Tensor3D;
  /** The same without the share of the uniform distribution. */
  readonly #ownLogits: Tensor3D;
  /** The share of the uniform distribution. */
  readonly #uniformShare: number;
  /** Number of bins of each dimension, [A]. */
  readonly #counts: readonly number[];
  /** K, the largest number of bins. */
  readonly #bins: number;

  constructor(
    readonly parameters: Tensor2D,
    counts: readonly number[],
    uniformShare: number,
  ) {
    this.#counts = counts;
    this.#bins = Math.max(...counts);
    const shape: [number, number, number] = [parameters.shape[0], counts.length, this.#bins];
    const raw: Tensor3D = tf.reshape(parameters, shape);
    const logits: Tensor3D = tf.logSoftmax(this.#masked(raw), -1);
    this.#ownLogits = logits;
    this.#uniformShare = uniformShare;
    this.#logits = uniformShare === 0 ? logits : this.#mixed(logits, uniformShare);
  }

  /** Log-probs of the mixture of `logits` with the uniform distribution over the bins that a dimension has. */
  #mixed(logits: Tensor3D, share: number): Tensor3D {
    const floor = share / this.#bins;
    if (this.#equal) return tf.log(tf.add(tf.mul(tf.exp(logits), 1 - share), floor));
    const floors = tf.tensor(
      this.#counts.map((count) => share / count),
      [1, this.#counts.length, 1],
    );
    return this.#masked(tf.log(tf.add(tf.mul(tf.exp(logits), 1 - share), floors)));
  }

  /** Whether all dimensions have K bins, which takes fewer operations. */
  get #equal(): boolean {
    return this.#counts.every((count) => count === this.#bins);
  }

  /** Logits [B, A, K], with bins that a dimension does not have made impossible. */
  #masked(logits: Tensor3D): Tensor3D {
    if (this.#equal) return logits;
    const own = this.#counts.flatMap((count) =>
      Array.from({ length: this.#bins }, (_, k) => Number(k < count)),
    );
    const has = tf.tensor(own, [1, this.#counts.length, this.#bins]);
    return tf.add(tf.mul(logits, has), tf.mul(tf.sub(1, has), impossible));
  }

  /** A number for each dimension, [A], or a single one if all dimensions have the same number of bins. */
  #each(of: (count: number) => number): tf.Tensor | number {
    return this.#equal ? of(this.#bins) : tf.tensor1d(this.#counts.map(of));
  }

  /** The index, 0 … K−1, of the bin that is nearest to each sample. */
  #indices(samples: Tensor3D): Tensor3D {
    const scaled: Tensor3D = tf.mul(
      tf.add(samples, 1),
      this.#each((count) => (count - 1) / 2),
    );
    const rounded = tf.round(scaled);
    if (this.#equal) return tf.clipByValue(rounded, 0, this.#bins - 1);
    return tf.maximum(
      tf.minimum(
        rounded,
        this.#each((count) => count - 1),
      ),
      0,
    );
  }

  /** The values of bins with the given indices [.., A]. */
  #values<T extends tf.Tensor>(indices: tf.Tensor): T {
    const scale = this.#each((count) => (count > 1 ? 2 / (count - 1) : 0));
    return tf.sub(
      tf.mul(indices, scale),
      this.#each((count) => (count > 1 ? 1 : 0)),
    );
  }

  sample(noise: Tensor3D): Tensor3D {
    // Inverse transform sampling: the index is the number of bins whose cumulative probability is below the noise. The last
    // bin is left out, because its cumulative probability may round to just below 1. The axis of cumsum is 2, not −1, because
    // a kernel of TensorFlow.js gets −1 wrong.
    const cumulative = tf.cumsum(tf.exp(this.#logits), 2);
    const inner = tf.slice(cumulative, [0, 0, 0], [-1, -1, this.#bins - 1]);
    const above = tf.cast(tf.less(tf.expandDims(inner, 0), tf.expandDims(noise, -1)), 'float32');
    const indices = tf.sum(above, -1);
    // For a dimension with fewer than K bins, the sum of its last bin is among those counted.
    const own = this.#equal
      ? indices
      : tf.minimum(
          indices,
          this.#each((count) => count - 1),
        );
    return this.#values(own);
  }

  mode(): Tensor2D {
    // The most likely bin rather than the mean: the mean of two equally good torques may do nothing.
    return this.#values(tf.cast(tf.argMax(this.#logits, -1), 'float32'));
  }

  logProb(samples: Tensor3D): Tensor2D {
    const places = tf.range(0, this.#bins, 1, 'float32');
    const chosen = tf.cast(tf.equal(tf.expandDims(this.#indices(samples), -1), places), 'float32');
    return tf.sum(tf.mul(chosen, this.#logits), [-2, -1]);
  }

  entropy(): Tensor1D {
    return tf.neg(tf.sum(tf.mul(tf.exp(this.#logits), this.#logits), [-2, -1]));
  }

  /**
   * KL(this ‖ other), where `other` is taken without its uniform share. A value that the policy's own softmax has all but lost has no
   * gradient left in the mixture, and could not come back when its evaluation rises; this KL keeps it.
   */
  kl(other: this): Record<string, Tensor2D> {
    return { categorical: divergence(this.#logits, other.#ownLogits) };
  }

  /**
   * (1 − u)·KL(this ‖ reference) + u·KL(own softmax of the reference ‖ own softmax of this), with the uniform share u: without one, just
   * the first term. That one alone loses its gradient in a value that this policy's softmax has all but lost; the second one keeps it.
   */
  reverseKl(reference: this): Record<string, Tensor2D> {
    const reverse = divergence(this.#logits, reference.#logits);
    const share = this.#uniformShare;
    if (share === 0) return { categorical: reverse };
    const forward = divergence(reference.#ownLogits, this.#ownLogits);
    return { categorical: tf.add(tf.mul(reverse, 1 - share), tf.mul(forward, share)) };
  }

  spread(): Tensor1D {
    const probabilities = tf.exp(this.#logits);
    const indices = tf.range(0, this.#bins, 1, 'float32');
    const values = this.#equal
      ? this.#values(indices)
      : // `#values` takes the dimensions last, and they come first here.
        tf.transpose(this.#values(tf.expandDims(indices, -1)), [1, 0]);
    const mean = tf.sum(tf.mul(probabilities, values), -1, true);
    const variance = tf.sum(tf.mul(probabilities, tf.squaredDifference(values, mean)), -1);
    return tf.mean(tf.sqrt(tf.add(variance, 1e-12)), -1);
  }
}

/** KL(p ‖ q) of log-probs [B, A, K] in each dimension, [B, A]. */
function divergence(p: Tensor3D, q: Tensor3D): Tensor2D {
  return tf.sum(tf.mul(tf.exp(p), tf.sub(p, q)), -1);
}

/** The values of each dimension, and how far the probabilities stay from 0. */
export interface CategoricalSettings {
  /** The number of values of each dimension, [A]. */
  readonly bins: readonly number[];
  /** The share of the uniform distribution in the policy: no value's probability falls below this share / K. Default: 0. */
  readonly uniformShare?: number;
}

/**
 * The categorical head, with K logits for each of the A action dimensions. It is the mixture (1 − u)·softmax(logits) + u·uniform with
 * u = `uniformShare`, so that no action is ever lost: log-probs stay bounded, and so does the pull of a rejected action.
 */
export function categoricalFamily({ bins, uniformShare = 0 }: CategoricalSettings): DistributionFamily {
  return {
    name: 'categorical',
    noise: 'uniform',
    exceedsBounds: false,
    parameterCount: () => bins.length * Math.max(...bins),
    klParts: () => ({ categorical: bins.length }),
    allActions: (limit) => allActions(bins, limit),
    create: (outputs) => new Categorical(outputs, bins, uniformShare),
  };
}

/** The canonical value of bin `index` of `count`, from −1 to 1; 0 if there is only one. */
function binValue(index: number, count: number): number {
  return count > 1 ? (2 * index) / (count - 1) - 1 : 0;
}

/** Every combination of the dimensions' values as canonical actions [M, A], or undefined if there are more than `limit`. */
function allActions(bins: readonly number[], limit: number): HostTensor | undefined {
  const combinations = bins.reduce((product, count) => product * count, 1);
  if (combinations > limit) return undefined;
  const data = new Float32Array(combinations * bins.length);
  for (let row = 0; row < combinations; row++) {
    let rest = row;
    for (let dimension = bins.length - 1; dimension >= 0; dimension--) {
      const count = bins[dimension];
      data[row * bins.length + dimension] = binValue(rest % count, count);
      rest = Math.floor(rest / count);
    }
  }
  return { shape: [combinations, bins.length], data };
}
