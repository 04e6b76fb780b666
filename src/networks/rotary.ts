import { PmpoError } from '../core/errors.js';
import type { Tensor } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/** Rotary positions (arXiv 2104.09864): dimension i of a head turns together with dimension i + d/2. */

/**
 * Of the angle of each position and dimension; the sines of the first half of the dimensions have the sign that turning gives
 * them. They broadcast to what is turned: [.., d] each.
 */
export interface RotaryTables {
  readonly cosines: Tensor;
  readonly sines: Tensor;
}

export interface RotaryConfig {
  readonly contextLength: number;
  readonly width: number;
  readonly heads: number;
  readonly ropeTheta: number;
}

/**
 * The tables of the first positions: [positions, d] each.
 * @throws PmpoError when the context has fewer.
 */
export function rotaryTables(
  { contextLength, width, heads, ropeTheta }: RotaryConfig,
  positions: number,
): RotaryTables {
  if (positions > contextLength) {
    throw new PmpoError({
      where: 'transformer',
      what: `${positions} positions are more than the context of ${contextLength}`,
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

/** Each pair (x_i, x_{i+d/2}) turned by its angle. x [.., d]. */
export function rotate(x: Tensor, { cosines, sines }: RotaryTables): Tensor {
  const [first, second] = tf.split(x, 2, -1);
  return tf.add(tf.mul(x, cosines), tf.mul(tf.concat([second, first], -1), sines));
}
