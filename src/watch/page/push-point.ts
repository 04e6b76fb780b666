import type { Vector } from '../../core/rotations.js';
import { rotate } from '../../core/rotations.js';
import { poseSize, type Scene } from '../../core/scene.js';

/** Where a button pushes. */

/** A point that is fixed to a body. */
export interface BodyPoint {
  /** The body's row in the poses. */
  readonly body: number;
  /** In the body's frame, in meters. */
  readonly local: Vector;
}

/** Where a point of a body is in the world. @param poses [B, 7] */
export function placeOfPoint({ body, local }: BodyPoint, poses: Float32Array): Vector {
  const [x, y, z, a, b, c, d] = poses.subarray(body * poseSize, (body + 1) * poseSize);
  const [u, v, w] = rotate([a!, b!, c!, d!], local);
  return [x! + u, y! + v, z! + w];
}

/** The point of a body that is at a place in the world. @param poses [B, 7] */
export function pointOfBody(body: number, place: Vector, poses: Float32Array): BodyPoint {
  const [x, y, z, a, b, c, d] = poses.subarray(body * poseSize, (body + 1) * poseSize);
  const inverse = [a!, -b!, -c!, -d!] as const;
  return { body, local: rotate(inverse, [place[0] - x!, place[1] - y!, place[2] - z!]) };
}

/** How far a point must move in a rehearsal for its body to count as one that moves, in meters. */
const smallestMove = 1e-4;

/**
 * The point at which a button pushes: the middle of the geoms of the first body that moves, because a joint in that place would bear the
 * whole force.
 * @param rehearsal the poses of an episode, each [B, 7]
 */
export function pushPoint({ bodies, geoms }: Scene, rehearsal: readonly Float32Array[]): BodyPoint {
  const points = Array.from({ length: bodies }, (_, body): BodyPoint | undefined => {
    const own = geoms.filter((geom) => geom.body === body);
    if (own.length === 0) return undefined;
    const middle = (axis: 0 | 1 | 2) =>
      own.reduce((sum, { position }) => sum + position[axis], 0) / own.length;
    return { body, local: [middle(0), middle(1), middle(2)] };
  }).filter((point) => point !== undefined);
  const moves = (point: BodyPoint) => {
    const [x, y, z] = placeOfPoint(point, rehearsal[0]!);
    return rehearsal.some((poses) => {
      const [a, b, c] = placeOfPoint(point, poses);
      return Math.hypot(a - x, b - y, c - z) > smallestMove;
    });
  };
  // If nothing moves, the last body is the likeliest to be on a joint.
  return points.find(moves) ?? points.at(-1) ?? { body: 0, local: [0, 0, 0] };
}
