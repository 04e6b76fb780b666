import { multiply, type Quaternion, rotate, type Vector } from '../core/rotations.js';
import { poseSize, type Scene, type SceneGeom } from '../core/scene.js';

/** From where a scene is looked at: the same for drawings and for the browser's three.js, which bundles this file. */

/** The poses of the bodies at a moment between two recorded ones. @param poses [F, B, 7] */
export function posesAt(poses: Float32Array, bodies: number, moment: number): Float32Array {
  const size = bodies * poseSize;
  const last = poses.length / size - 1;
  const from = Math.max(0, Math.min(last, Math.floor(moment)));
  const share = Math.max(0, Math.min(1, moment - from));
  const row = poses.slice(from * size, (from + 1) * size);
  if (share === 0 || from === last) return row;
  const next = poses.subarray((from + 1) * size, (from + 2) * size);
  for (let b = 0; b < size; b += poseSize) {
    // Of the two quaternions of a rotation, the nearer one.
    let cosine = 0;
    for (let i = 3; i < poseSize; i++) cosine += row[b + i]! * next[b + i]!;
    const sign = cosine < 0 ? -1 : 1;
    let norm = 0;
    for (let i = 0; i < poseSize; i++) {
      const to = i < 3 ? next[b + i]! : sign * next[b + i]!;
      row[b + i] = row[b + i]! + share * (to - row[b + i]!);
      if (i >= 3) norm += row[b + i]! ** 2;
    }
    for (let i = 3; i < poseSize; i++) row[b + i] = row[b + i]! / Math.sqrt(norm || 1);
  }
  return row;
}

/** The place of a geom in the world. @param row the poses of the bodies, [B, 7] */
export function placeOf(
  { body, position, rotation }: Pick<SceneGeom, 'body' | 'position' | 'rotation'>,
  row: Float32Array,
): { readonly position: Vector; readonly rotation: Quaternion } {
  if (body < 0) return { position, rotation };
  const [x, y, z, qw, qx, qy, qz] = row.subarray(body * poseSize, (body + 1) * poseSize);
  const turn: Quaternion = [qw!, qx!, qy!, qz!];
  const [a, b, c] = rotate(turn, position);
  return { position: [x! + a, y! + b, z! + c], rotation: multiply(turn, rotation) };
}

/** The radius of a ball around a geom, from its middle. */
export function reachOf({ shape, size: [a, b, c], mesh }: SceneGeom, { meshes }: Scene): number {
  if (shape === 'sphere') return a;
  if (shape === 'capsule') return a + b;
  if (shape === 'cylinder') return Math.hypot(a, b);
  if (shape === 'ellipsoid') return Math.max(a, b, c);
  if (shape === 'box') return Math.hypot(a, b, c);
  if (shape === 'plane') return 0;
  const vertices = meshes[mesh ?? -1]?.vertices ?? [];
  let most = 0;
  for (let i = 0; i < vertices.length; i += 3)
    most = Math.max(most, Math.hypot(vertices[i]!, vertices[i + 1]!, vertices[i + 2]!));
  return most;
}

/** From where a camera looks at its target. Angles in radians. */
export interface Viewpoint {
  /** The direction from the target to the camera: around z, from −y, and up. */
  readonly azimuth: number;
  readonly elevation: number;
  readonly distance: number;
  /** The height of the floor; undefined without one. */
  readonly floor: number | undefined;
}

/** A camera that follows a scene. */
export interface SceneCamera extends Viewpoint {
  /** The point looked at in each recorded moment, [F, 3]. */
  readonly targets: Float32Array;
}

/** The point looked at at a moment between two recorded ones. */
export function targetAt({ targets }: Pick<SceneCamera, 'targets'>, moment: number): Vector {
  const last = targets.length / 3 - 1;
  const from = Math.max(0, Math.min(last, Math.floor(moment)));
  const to = Math.min(last, from + 1);
  const share = Math.max(0, Math.min(1, moment - from));
  const along = (axis: number) => {
    const [a, b] = [targets[3 * from + axis]!, targets[3 * to + axis]!];
    return a + share * (b - a);
  };
  return [along(0), along(1), along(2)];
}

/** The camera's field of view, from bottom to top. */
export const fieldOfView = (32 * Math.PI) / 180;

/** The unit vector from the target to the camera. */
export function directionOf({ azimuth, elevation }: Pick<Viewpoint, 'azimuth' | 'elevation'>): Vector {
  const flat = Math.cos(elevation);
  return [flat * Math.sin(azimuth), -flat * Math.cos(azimuth), Math.sin(elevation)];
}

/** The lowest and the highest value along each axis, from points and their radii. */
class Bounds {
  readonly low = [Infinity, Infinity, Infinity];
  readonly high = [-Infinity, -Infinity, -Infinity];

  add(point: Vector, radius: number): void {
    for (const [i, value] of point.entries()) {
      this.low[i] = Math.min(this.low[i]!, value - radius);
      this.high[i] = Math.max(this.high[i]!, value + radius);
    }
  }

  size(axis: number): number {
    return Math.max(0, this.high[axis]! - this.low[axis]!);
  }

  middle(axis: number): number {
    return this.size(axis) > 0 ? (this.high[axis]! + this.low[axis]!) / 2 : 0;
  }
}

const movingGeoms = ({ geoms }: Scene) => geoms.filter(({ body, shape }) => body >= 0 && shape !== 'plane');

/** The middle of all that moves. @param row the poses of the bodies, [B, 7] */
export function middleOf(scene: Scene, row: Float32Array): Vector {
  const bounds = new Bounds();
  for (const geom of movingGeoms(scene)) bounds.add(placeOf(geom, row).position, reachOf(geom, scene));
  return [bounds.middle(0), bounds.middle(1), bounds.middle(2)];
}

/**
 * Chooses a camera for an episode. What stays in a place that fits the picture is looked at from one place; what travels is followed.
 * A scene in a horizontal plane is looked at from above, any other from the side, where planar robots move.
 * @param poses [F, B, 7]
 */
export function cameraOf(scene: Scene, poses: Float32Array): SceneCamera {
  const size = Math.max(1, scene.bodies * poseSize);
  const moments = Math.max(1, Math.floor(poses.length / size));
  const moving = movingGeoms(scene);
  const reach = moving.map((geom) => reachOf(geom, scene));
  const whole = new Bounds();
  let largest = 0;
  const middles = new Float32Array(3 * moments);
  for (let f = 0; f < moments; f++) {
    const row = poses.subarray(f * size, (f + 1) * size);
    const now = new Bounds();
    for (const [i, geom] of moving.entries()) {
      const { position } = placeOf(geom, row);
      now.add(position, reach[i]!);
      whole.add(position, reach[i]!);
    }
    for (let axis = 0; axis < 3; axis++) middles[3 * f + axis] = now.middle(axis);
    largest = Math.max(largest, Math.hypot(now.size(0), now.size(1), now.size(2)));
  }
  const all = Math.hypot(whole.size(0), whole.size(1), whole.size(2));
  const travels = all > 2 * largest;
  const radius = Math.max(0.05, (travels ? largest : all) / 2);
  const isFlat = whole.size(2) < 0.3 * Math.min(whole.size(0), whole.size(1));
  // Seen from the side, the picture's height shows z; seen from above, y.
  const halfHeight = whole.size(isFlat ? 1 : 2) / 2;
  const targets = new Float32Array(3 * moments);
  // What travels is followed smoothly, and its height is that of the whole episode.
  const window = Math.ceil(moments / 40);
  for (let f = 0; f < moments; f++) {
    const [from, to] = [Math.max(0, f - window), Math.min(moments, f + window + 1)];
    for (let axis = 0; axis < 3; axis++) {
      let sum = 0;
      for (let g = from; g < to; g++) sum += middles[3 * g + axis]!;
      targets[3 * f + axis] = travels && axis < 2 ? sum / (to - from) : whole.middle(axis);
    }
  }
  const plane = scene.geoms.find(
    ({ shape, body, rotation }) => shape === 'plane' && body < 0 && Math.abs(rotation[0]) > 0.99,
  );
  return {
    azimuth: isFlat ? 0 : 0.35,
    elevation: isFlat ? 1.2 : 0.22,
    // Pictures are wider than high, so that a ball of this radius fits with a little room, unless all of it is in the height.
    distance: Math.max(
      (0.8 * radius) / Math.sin(fieldOfView / 2),
      (1.1 * halfHeight) / Math.tan(fieldOfView / 2),
    ),
    targets,
    floor: plane?.position[2],
  };
}
