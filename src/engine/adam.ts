import { sizeOf } from '../core/shape.js';
import type { Engine } from './engine.js';
import type { NamedTensors, NamedVariables, Scalar, Tensor } from './tensors.js';
import * as tf from './tf.js';

export interface AdamOptions {
  readonly learningRate: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Gradients are scaled down together so that the norm of all of them is at most this. */
  readonly maxGradientNorm?: number;
}

export interface Adam {
  /** First and second moments and the step count: what a checkpoint holds besides the variables. */
  readonly slots: NamedVariables;
  /**
   * Moves the variables one step; call it inside a compiled function.
   * @param gradients by the names in `variables`, all of them.
   * @param learningRateFactor what the learning rate is multiplied by, for schedules; 1 when absent.
   * @param learningRateFactor multiplies the learning rate: a schedule's value at this step.
   * @returns the norm of all gradients together, before clipping.
   */
  apply(gradients: NamedTensors, learningRateFactor?: Scalar): { gradientNorm: Scalar };
}

/**
 * Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) with clipping by the global gradient norm:
 *
 *     m ← β₁ m + (1 − β₁) g     v ← β₂ v + (1 − β₂) g²     θ ← θ − lr · m̂ / (√v̂ + ε)
 *
 * with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ). The moments of all variables lie in one flat variable each, so that the
 * graph has a handful of nodes, not a handful per variable. They are kept without their factors, m / (1 − β₁) and
 * v / (1 − β₂), and the factors and corrections folded into the step size and ε: long vectors are passed over less often.
 */
export function createAdam(
  engine: Engine,
  name: string,
  variables: NamedVariables,
  { learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, maxGradientNorm }: AdamOptions,
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
      const norm = tf.sqrt(tf.sum(tf.square(flat))) as Scalar;
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
        variable.assign(tf.sub(variable, tf.reshape(changes[i]!, variable.shape)));
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
