import { PmpoError } from '../core/errors.js';
import { bitGenerator, foldIn, type RandomKey } from '../core/random-keys.js';
import { normals } from './draws.js';
import type { Physics } from './physics.js';

/**
 * Draws the positions of all hinge and slide joints: uniformly within their limits, and over the full turn for hinges without
 * limits. Slides without limits keep their positions. `spread` in [0, 1] narrows the range of limited joints around the model's
 * initial pose: 1 is the whole range, 0 the initial pose.
 */
export function randomizeJoints(physics: Physics, key: RandomKey, spread = 1): void {
  const next = bitGenerator(foldIn(key, 'joints'));
  const { qpos } = physics;
  for (const { position, kind, range } of physics.scalarJoints()) {
    const u = (next() + 0.5) / 2 ** 32;
    if (range !== undefined) {
      const drawn = range[0] + (range[1] - range[0]) * u;
      qpos[position] += spread * (drawn - qpos[position]);
    } else if (kind === 'hinge') {
      qpos[position] = Math.PI * (2 * u - 1);
    }
  }
}

/** A unit quaternion (w, x, y, z) drawn uniformly from all orientations. */
export function randomOrientation(key: RandomKey): number[] {
  const q = normals(foldIn(key, 'orientation'), 4);
  const norm = Math.hypot(...q);
  return Array.from(q, (v) => v / norm);
}

/** The number of attempts at a pose without overlapping parts. Each attempt draws from a narrower range. */
const poseAttempts = 200;
const spreadPerAttempt = 0.97;
/** The precision, in meters, of the height above the floor. */
const heightTolerance = 1e-4;

/** How to place a body. */
export interface Placement {
  /** Draws a pose from `key`, starting from the model's initial state; a smaller `spread` narrows the range. */
  readonly pose: (key: RandomKey, spread: number) => void;
  /** The index in `qpos` of the height of the whole body. */
  readonly height: number;
  /** A height, in meters, at which no pose touches the floor. */
  readonly above: number;
  /** A height, in meters, at which every pose touches the floor. */
  readonly below: number;
}

/**
 * Places a body in a random pose just above the floor, so that its parts overlap neither each other nor the floor.
 * @throws PmpoError if no such pose is found, which is a fault of the model.
 */
export function placeOnFloor(physics: Physics, key: RandomKey, placement: Placement): void {
  const { pose, height, above, below } = placement;
  const touches = (z: number) => {
    physics.qpos[height] = z;
    physics.forward();
    return physics.contacts > 0;
  };
  for (let attempt = 0; attempt < poseAttempts; attempt++) {
    physics.reset();
    pose(foldIn(key, attempt), spreadPerAttempt ** attempt);
    if (touches(above)) continue;
    let [low, high] = [below, above];
    while (high - low > heightTolerance) {
      const middle = (low + high) / 2;
      if (touches(middle)) low = middle;
      else high = middle;
    }
    physics.qpos[height] = high;
    // Otherwise the first step's solver would start from its result for the poses that were tried.
    physics.forgetForces();
    return;
  }
  throw new PmpoError({ what: 'no pose without overlapping parts was found', where: 'MuJoCo model' });
}
