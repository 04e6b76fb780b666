import { sizeOf } from '../core/shape.js';
import type { Engine } from './engine.js';
import type { NamedTensors, NamedVariables, Scalar, Tensor } from './tensors.js';
import * as tf from './tf.js';

/** Adam's settings, named as in the paper. */
export interface AdamOptions {
  /** The step size α. */
  readonly learningRate: number;
  /** Decay rate of the first moment. Default: 0.9. */
  readonly beta1?: number;
  /** Decay rate of the second moment. Default: 0.999. */
  readonly beta2?: number;
  /** Added to the denominator. Default: 1e-8. */
  readonly epsilon?: number;
  /**
   * Decoupled weight decay (AdamW, arXiv 1711.05101): every step also multiplies the variables by 1 − learning rate · this.
   * Default: 0.
   */
  readonly weightDecay?: number;
  /** Scales the gradients of all variables down so that their joint L2 norm is at most this. Default: no clipping. */
  readonly maxGradientNorm?: number;
}

/** An optimizer for compiled functions; see `createAdam`. */
export interface Adam {
  /** The first and second moments and the step count, by variable name: save them with the variables to resume training. */
  readonly slots: NamedVariables;
  /**
   * Moves the variables one step. Call it inside a compiled function.
   * @param gradients a gradient for each name in `variables`, of the variable's shape.
   * @param learningRateFactor multiplies the learning rate, for schedules. Default: 1.
   * @returns the joint L2 norm of all gradients before clipping.
   */
  apply(gradients: NamedTensors, learningRateFactor?: Scalar): { gradientNorm: Scalar };
}

/**
 * Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) with clipping by the global gradient norm:
 *
 *     m ← β₁ m + (1 − β₁) g     v ← β₂ v + (1 − β₂) g²     θ ← θ − lr · m̂ / (√v̂ + ε)
 *
 * with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ). All first moments share one flat variable and so do all second moments, so
 * that the size of the graph does not depend on the number of variables. They are stored as M = m / (1 − β₁) and
 * V = v / (1 − β₂), which saves passes over long vectors. With c₁ = (1 − β₁ᵗ) / (1 − β₁) and c₂ = (1 − β₂ᵗ) / (1 − β₂), the step is
 *
 *     θ ← θ − lr · √c₂/c₁ · M / (√V + √c₂·ε)
 *
 * @param name prefix of the names of the slots, unique in the engine.
 * @param variables the variables to train; all belong to `engine`.
 * @throws PmpoError when the engine has slots of that name.
 */
export function createAdam(
  engine: Engine,
  name: string,
  variables: NamedVariables,
  { learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, maxGradientNorm }: AdamOptions,
): Adam {
  const names = Object.keys(variables);
  const sizes = names.map((key) => sizeOf(variables[key]!.shape));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const zeros = { shape: [total], data: new Float32Array(total) };
  const first = engine.variable(`${name}/first_moment`, zeros);
  const second = engine.variable(`${name}/second_moment`, zeros);
  const step = engine.variable(`${name}/step`, { shape: [], data: new Float32Array(1) });

  const apply = (gradients: NamedTensors, learningRateFactor?: Scalar): { gradientNorm: Scalar } =>
    tf.tidy(() => {
      const flat = tf.concat1d(names.map((key) => tf.reshape(gradients[key]!, [-1])));
      const norm: Scalar = tf.sqrt(tf.sum(tf.square(flat)));
      const gradient: Tensor =
        maxGradientNorm === undefined
          ? flat
          : tf.mul(flat, tf.div(maxGradientNorm, tf.maximum(norm, maxGradientNorm)));
      const count = tf.add(step, 1);
      const m = tf.add(tf.mul(first, beta1), gradient);
      const v = tf.add(tf.mul(second, beta2), tf.square(gradient));
      const correction1 = tf.div(tf.sub(1, tf.pow(beta1, count)), 1 - beta1);
      const correction2 = tf.sqrt(tf.div(tf.sub(1, tf.pow(beta2, count)), 1 - beta2));
      const size = learningRateFactor === undefined ? learningRate : tf.mul(learningRateFactor, learningRate);
      const rate = tf.div(tf.mul(correction2, size), correction1);
      const change = tf.mul(rate, tf.div(m, tf.add(tf.sqrt(v), tf.mul(correction2, epsilon))));
      const changes = tf.split(change, sizes);
      for (const [i, key] of names.entries()) {
        const variable = variables[key]!;
        const kept = weightDecay === 0 ? variable : tf.mul(variable, tf.sub(1, tf.mul(size, weightDecay)));
        variable.assign(tf.sub(kept, tf.reshape(changes[i]!, variable.shape)));
      }
      first.assign(m);
      second.assign(v);
      step.assign(count);
      return { gradientNorm: norm };
    });

  return {
    slots: Object.fromEntries([first, second, step].map((variable) => [variable.name, variable])),
    apply,
  };
}
