import { PmpoError } from '../core/errors.js';
import { bitGenerator, foldIn, type RandomKey } from '../core/random-keys.js';
import { normals } from './draws.js';
import type { Physics } from './physics.js';

/**
 * Draws every hinge and slide joint that has limits uniformly within them, and hinges without limits over the full turn;
 * slides without limits stay where they are. `spread` in [0, 1] draws the limited ones towards the model's initial
 * pose: 1 is the whole range, 0 that pose.
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

/** Attempts at a pose in which no two parts of the body overlap; each draws less widely than the one before. */
const poseAttempts = 200;
const spreadPerAttempt = 0.97;
/** Metres to which the height of the lowest point above the floor is found. */
const heightTolerance = 1e-4;

export interface Placement {
  /** Sets a pose drawn from `key`, less wide the smaller `spread` is, from the model's initial state. */
  readonly pose: (key: RandomKey, spread: number) => void;
  /** The element of `qpos` that lifts the whole body. */
  readonly height: number;
  /** A height, in that element's units (metres), from which no pose touches the floor. */
  readonly above: number;
  /** A height from which every pose touches it. */
  readonly below: number;
}

/**
 * Puts a body with a random pose just above the floor: no two of its parts overlap, and nothing overlaps the floor.
 * @throws PmpoError when no pose will do, which is a fault of the model.
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
    // What the solver found for the poses tried would otherwise be where it starts from in the first step.
    physics.forgetForces();
    return;
  }
  throw new PmpoError({ what: 'no pose without overlapping parts was found', where: 'MuJoCo model' });
}
