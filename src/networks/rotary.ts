import { PmpoError } from '../core/errors.js';
import type { Tensor } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/** Rotary position embeddings (arXiv 2104.09864): dimensions i and i + d/2 of a head are rotated together. */

/**
 * Cosine and sine of the angle of each position and dimension, [.., d] each. The sines of the first half of the dimensions are
 * negated, as the rotation needs them.
 */
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
 * The tables for the first `positions` positions: [positions, d] each.
 * @throws PmpoError when the context is shorter.
 */
export function rotaryTables(
  { contextLength, width, heads, ropeTheta }: RotaryConfig,
  positions: number,
): RotaryTables {
  if (positions > contextLength) {
    throw new PmpoError({
      where: 'transformer',
      what: `${positions} positions are more than the context length of ${contextLength}`,
    });
  }
  const size = width / heads;
  const cosines = new Float32Array(positions * size);
  const sines = new Float32Array(positions * size);
  for (let t = 0; t < positions; t++) {
    for (let i = 0; i < size; i++) {
      const angle = t * ropeTheta ** ((-2 * (i % (size / 2))) / size);
      cosines[t * size + i] = Math.cos(angle);
      sines[t * size + i] = i < size / 2 ? -Math.sin(angle) : Math.sin(angle);
    }
  }
  return { cosines: tf.tensor2d(cosines, [positions, size]), sines: tf.tensor2d(sines, [positions, size]) };
}

/** Rotates each pair (x_i, x_{i+d/2}) of x [.., d] by its angle. */
export function rotate(x: Tensor, { cosines, sines }: RotaryTables): Tensor {
  const [first, second] = tf.split(x, 2, -1);
  return tf.add(tf.mul(x, cosines), tf.mul(tf.concat([second, first], -1), sines));
}
