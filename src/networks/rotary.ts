import { PmpoError } from '../core/errors.js';
import { withCustomGradient } from '../engine/custom-gradient.js';
import { rotateHeads } from '../engine/fused.js';
import type { Tensor, Tensor1D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/** Rotary position embeddings (arXiv 2104.09864): dimensions i and i + d/2 of a head are rotated together. */

/** Cosine and sine of the angle of each position and each pair of dimensions, [P, d/2] each. */
export interface RotaryTables {
  readonly cosines: Tensor;
  readonly sines: Tensor;
}

/** The part of a transformer's configuration that its angles depend on. */
export interface RotaryConfig {
  readonly contextLength: number;
  readonly width: number;
  readonly heads: number;
  readonly ropeTheta: number;
}

/**
 * The tables for the first P positions.
 * @param factor multiplies what is rotated.
 * @throws PmpoError when the context is shorter.
 */
export function rotaryTables(
  { contextLength, width, heads, ropeTheta }: RotaryConfig,
  positions: number,
  factor = 1,
): RotaryTables {
  if (positions > contextLength) {
    throw new PmpoError({
      where: 'transformer',
      what: `${positions} positions are more than the context length of ${contextLength}`,
    });
  }
  const half = width / heads / 2;
  const cosines = new Float32Array(positions * half);
  const sines = new Float32Array(positions * half);
  for (let t = 0; t < positions; t++) {
    for (let i = 0; i < half; i++) {
      const angle = t * ropeTheta ** (-i / half);
      cosines[t * half + i] = factor * Math.cos(angle);
      sines[t * half + i] = factor * Math.sin(angle);
    }
  }
  return { cosines: tf.tensor2d(cosines, [positions, half]), sines: tf.tensor2d(sines, [positions, half]) };
}

/**
 * Rotates each pair (x_i, x_{i+d/2}) of each head by its angle. Its gradient is a rotation by the opposite angle.
 * @param x [B, T, H·d]
 * @param positions [B], int32, if T is 1: the position of each token; by default that of x[:, t] is t.
 */
export function rotate(x: Tensor, { cosines, sines }: RotaryTables, positions?: Tensor1D): Tensor {
  const rotated = withCustomGradient((input, save) => {
    save([cosines, sines, ...(positions === undefined ? [] : [positions])]);
    return {
      value: rotateHeads(input, cosines, sines, positions),
      gradFunc: (gradient, [cosines, sines, positions]) =>
        rotateHeads(gradient, cosines!, tf.neg(sines!), positions as Tensor1D | undefined),
    };
  });
  return rotated(x);
}
