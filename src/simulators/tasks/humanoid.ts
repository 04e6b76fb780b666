import { placeOnFloor, randomizeJoints, randomOrientation } from '../placement.js';
import { tolerance } from '../rewards.js';
import type { TaskDefinition } from '../task.js';
import { humanoidMjcf } from './humanoid-model.js';

/** The height of the head, in meters, from which the humanoid counts as standing. */
const standHeight = 1.4;

const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;

export interface HumanoidState {
  /** The height of the head's center, in meters. */
  readonly headHeight: number;
  /** Cosine of the torso's angle from upright. */
  readonly upright: number;
  /** The horizontal velocity of the body's center of mass, in m/s. */
  readonly velocity: readonly [x: number, y: number];
  /** The controls, each in [−1, 1]. */
  readonly control: readonly number[];
}

/** DM Control's reward for a standing humanoid: head high, torso upright, little force, and little horizontal motion. */
export function humanoidReward({ headHeight, upright, velocity, control }: HumanoidState): number {
  const tall = tolerance(headHeight, { lower: standHeight, upper: Infinity, margin: standHeight / 4 });
  const erect = tolerance(upright, {
    lower: 0.9,
    upper: Infinity,
    margin: 1.9,
    valueAtMargin: 0,
    falloff: 'linear',
  });
  const force = mean(control.map((u) => tolerance(u, { margin: 1, valueAtMargin: 0, falloff: 'quadratic' })));
  const still = mean(velocity.map((v) => tolerance(v, { margin: 2 })));
  return tall * erect * ((4 + force) / 5) * still;
}

export const humanoidStand: TaskDefinition = {
  name: 'humanoid_stand',
  description: 'Get up from anywhere on the floor and stand still (21 actuators)',
  mjcf: humanoidMjcf,
  substeps: 5,
  bind(physics) {
    const torso = physics.body('torso');
    const head = physics.body('head');
    const limbs = ['left_hand', 'left_foot', 'right_hand', 'right_foot'].map((name) => physics.body(name));
    const velocity = physics.sensor('velocity').start;
    // The seven positions of the free joint (three coordinates and a quaternion) come first.
    const places = 7;
    /** The position of a body in the torso's frame. */
    const fromTorso = (body: number): number[] => {
      const { xpos, xmat } = physics;
      const offset = [0, 1, 2].map((i) => xpos[3 * body + i] - xpos[3 * torso + i]);
      return [0, 1, 2].map((axis) =>
        offset.reduce((sum, v, i) => sum + v * xmat[9 * torso + 3 * i + axis], 0),
      );
    };
    return {
      initialize(key) {
        placeOnFloor(physics, key, {
          pose(attempt, spread) {
            randomizeJoints(physics, attempt, spread);
            physics.qpos.set(randomOrientation(attempt), 3);
          },
          height: 2,
          below: 0,
          above: 3,
        });
      },
      observe() {
        const { sensordata } = physics;
        return {
          joint_angles: physics.qpos.subarray(places),
          head_height: [physics.xpos[3 * head + 2]],
          extremities: limbs.flatMap(fromTorso),
          torso_vertical: physics.xmat.subarray(9 * torso + 6, 9 * torso + 9),
          centre_velocity: sensordata.subarray(velocity, velocity + 3),
          velocity: physics.qvel,
        };
      },
      reward() {
        const { sensordata } = physics;
        return humanoidReward({
          headHeight: physics.xpos[3 * head + 2],
          upright: physics.xmat[9 * torso + 8],
          velocity: [sensordata[velocity], sensordata[velocity + 1]],
          control: Array.from(physics.ctrl),
        });
      },
    };
  },
};
