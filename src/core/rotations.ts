/** Rotations as unit quaternions (w, x, y, z). */

export type Vector = readonly [number, number, number];
export type Quaternion = readonly [number, number, number, number];

/** The product of two rotations: b first. */
export function multiply([w, x, y, z]: Quaternion, [a, b, c, d]: Quaternion): Quaternion {
  return [
    w * a - x * b - y * c - z * d,
    w * b + x * a + y * d - z * c,
    w * c - x * d + y * a + z * b,
    w * d + x * c - y * b + z * a,
  ];
}

/** A vector in the frame in which another frame is rotated. */
export function rotate([w, x, y, z]: Quaternion, [a, b, c]: Vector): Vector {
  const [tx, ty, tz] = [2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)];
  return [a + w * tx + y * tz - z * ty, b + w * ty + z * tx - x * tz, c + w * tz + x * ty - y * tx];
}
