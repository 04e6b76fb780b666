import { bitGenerator, foldIn } from '../../core/random-keys.js';
import { uniform } from '../draws.js';
import { placeOnFloor } from '../placement.js';
import { tolerance } from '../rewards.js';
import type { TaskDefinition } from '../task.js';

/** The speed, in meters per second, from which the reward for moving is 1. */
const runSpeed = 3;

interface LegJoint {
  readonly name: string;
  readonly axis: string;
  /** The lowest and the highest angle, in degrees; controls −1 … 1 ask for angles in this range. `standing` is the resting angle. */
  readonly range: readonly [number, number];
  readonly standing: number;
}

const legJoints: readonly LegJoint[] = [
  { name: 'roll', axis: '1 0 0', range: [-35, 35], standing: 0 },
  { name: 'hip', axis: '0 1 0', range: [-40, 100], standing: 45 },
  { name: 'knee', axis: '0 1 0', range: [-150, -30], standing: -90 },
];

const radians = (degrees: number) => (degrees * Math.PI) / 180;

const corners = [
  { leg: 'front_left', x: 0.22, y: 0.1 },
  { leg: 'front_right', x: 0.22, y: -0.1 },
  { leg: 'back_left', x: -0.22, y: 0.1 },
  { leg: 'back_right', x: -0.22, y: -0.1 },
] as const;

const joint = (leg: string, { name, axis, range }: LegJoint) =>
  `<joint name="${leg}_${name}" axis="${axis}" range="${range.join(' ')}"/>`;

/** A leg, straight down at angle 0. The hip swings the thigh back, and the knee folds the shin forward. */
const legBody = ({ leg, x, y }: (typeof corners)[number]) => `
      <body name="${leg}_hip" pos="${x} ${y} 0">
        ${joint(leg, legJoints[0])}
        <geom name="${leg}_hip" fromto="0 0 0 0 ${y / 2} 0" size="0.04" mass="0.4"/>
        <body name="${leg}_thigh" pos="0 ${y / 2} 0">
          ${joint(leg, legJoints[1])}
          <geom name="${leg}_thigh" fromto="0 0 -0.03 0 0 -0.22" size="0.025" mass="0.7"/>
          <body name="${leg}_shin" pos="0 0 -0.22">
            ${joint(leg, legJoints[2])}
            <geom name="${leg}_shin" fromto="0 0 -0.03 0 0 -0.2" size="0.015" mass="0.2"/>
            <geom name="${leg}_foot" type="sphere" pos="0 0 -0.22" size="0.025" mass="0.05" friction="1 0.02 0.001"/>
          </body>
        </body>
      </body>`;

/** The stiffness (N m/rad), damping (N m s/rad) and torque limit (N m) of each joint's servo. */
const servo = { stiffness: 60, damping: 1.5, torque: 30 };

/** A servo whose target is the middle of the joint's range, plus the control times half of the range. */
function servoElement(leg: string, { name, range }: LegJoint): string {
  const middle = radians((range[0] + range[1]) / 2);
  const half = radians((range[1] - range[0]) / 2);
  const { stiffness, damping, torque } = servo;
  return `<general name="${leg}_${name}" joint="${leg}_${name}" gainprm="${stiffness * half}"
      biasprm="${stiffness * middle} ${-stiffness} ${-damping}" forcerange="${-torque} ${torque}"/>`;
}

/**
 * A four-legged robot the size of a dog: a trunk of half a meter and 8 kg on legs of two links of 22 cm, with three servos per leg.
 * Its parts collide with the floor and with each other.
 */
export const quadrupedMjcf = `
<mujoco model="quadruped">
  <size memory="1M"/>
  <option timestep="0.005" integrator="implicitfast" iterations="20" ls_iterations="20"/>
  <default>
    <joint type="hinge" damping="0.5" armature="0.01" limited="true" solimplimit="0 0.99 0.01"/>
    <geom type="capsule" friction="0.8 0.02 0.001"/>
    <general biastype="affine" ctrllimited="true" ctrlrange="-1 1" forcelimited="true"/>
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="trunk" pos="0 0 0.4">
      <freejoint name="root"/>
      <site name="trunk"/>
      <geom name="trunk" type="box" size="0.25 0.08 0.055" mass="8"/>
      <geom name="head" type="sphere" pos="0.3 0 0.04" size="0.06" mass="0.5"/>
${corners.map(legBody).join('')}
    </body>
  </worldbody>
  <actuator>
    ${corners.flatMap(({ leg }) => legJoints.map((j) => servoElement(leg, j))).join('\n    ')}
  </actuator>
  <sensor>
    <velocimeter name="velocity" site="trunk"/>
    <gyro name="gyro" site="trunk"/>
  </sensor>
</mujoco>`;

/** The joint angles of the standing pose in radians, in the order of the actuators, [12]. */
export const quadrupedStanding: readonly number[] = corners.flatMap(() =>
  legJoints.map(({ standing }) => radians(standing)),
);

/** The controls that hold the joint angles `angles` (radians, [12]), each in [−1, 1]. */
export function quadrupedControls(angles: readonly number[]): number[] {
  return angles.map((angle, i) => {
    const [low, high] = legJoints[i % legJoints.length].range.map(radians);
    return Math.min(1, Math.max(-1, (2 * angle - low - high) / (high - low)));
  });
}

export interface QuadrupedState {
  /** The cosine of the angle between the vertical axes of the trunk and of the world. */
  readonly upright: number;
  /** The trunk's speed along its forward axis, in m/s. */
  readonly speed: number;
}

/** The reward of DM Control's quadruped for moving forward with its back up, with 3 m/s for this smaller body. */
export function quadrupedReward({ upright, speed }: QuadrupedState): number {
  const level = tolerance(upright, {
    lower: 1,
    upper: Infinity,
    margin: 2,
    valueAtMargin: 0,
    falloff: 'linear',
  });
  const move = tolerance(speed, {
    lower: runSpeed,
    upper: Infinity,
    margin: runSpeed,
    valueAtMargin: 0.5,
    falloff: 'linear',
  });
  return level * move;
}

/** The largest difference, in radians, between the legs' initial angles and the standing pose. */
const initialSpread = 0.3;

export const quadrupedRun: TaskDefinition = {
  name: 'quadruped_run',
  description: 'Run at 3 m/s on four legs (12 actuators)',
  mjcf: quadrupedMjcf,
  substeps: 4,
  bind(physics) {
    const trunk = physics.body('trunk');
    const velocity = physics.sensor('velocity').start;
    const gyro = physics.sensor('gyro').start;
    // The seven positions of the free joint (three coordinates and a quaternion) and its six velocities come first.
    const [places, rates] = [7, 6];
    return {
      /** On its feet, facing in a random direction, with the legs a little off the standing pose. */
      initialize(key) {
        placeOnFloor(physics, key, {
          pose(attempt, spread) {
            const yaw = uniform(attempt, 'yaw', -Math.PI, Math.PI);
            physics.qpos.set([Math.cos(yaw / 2), 0, 0, Math.sin(yaw / 2)], 3);
            const next = bitGenerator(foldIn(attempt, 'legs'));
            quadrupedStanding.forEach((angle, i) => {
              physics.qpos[places + i] = angle + spread * initialSpread * (next() / 2 ** 31 - 1);
            });
          },
          height: 2,
          below: 0,
          above: 1,
        });
      },
      observe() {
        const { xmat, sensordata } = physics;
        return {
          joint_angles: physics.qpos.subarray(places),
          joint_velocities: physics.qvel.subarray(rates),
          trunk_height: [physics.xpos[3 * trunk + 2]],
          trunk_vertical: xmat.subarray(9 * trunk + 6, 9 * trunk + 9),
          trunk_velocity: sensordata.subarray(velocity, velocity + 3),
          trunk_gyro: sensordata.subarray(gyro, gyro + 3),
        };
      },
      reward: () =>
        quadrupedReward({ upright: physics.xmat[9 * trunk + 8], speed: physics.sensordata[velocity] }),
    };
  },
};
