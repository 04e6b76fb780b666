/**
 * What a simulator looks like: rigid geoms on bodies that move. Lengths are in meters, z points up, and rotations are unit quaternions
 * (w, x, y, z), as in MuJoCo. Shapes: B bodies; a pose is a position and a rotation, [7].
 */

export type { Scene, SceneGeom, SceneMesh } from './read-scene.js';

/** The numbers of a pose: a position (3) and a rotation (4). */
export const poseSize = 7;
