import { placeOnFloor, randomizeJoints } from '../placement.js';
import { tolerance } from '../rewards.js';
import type { TaskDefinition } from '../task.js';

/** The speed, in meters per second, from which the reward is 1. */
const runSpeed = 10;

interface Segment {
  readonly name: string;
  /** The position of the joint in the frame of the segment above, in meters: x forward, z up. */
  readonly at: readonly [x: number, z: number];
  /** The capsule: its center relative to the joint, its angle about y in degrees, and half of its length in meters. */
  readonly capsule: readonly [x: number, z: number, angle: number, half: number];
  /** The joint's limits, in degrees. */
  readonly range: readonly [number, number];
  /** The joint's spring (N m/rad), damper (N m s/rad) and motor (N m). */
  readonly spring: readonly [stiffness: number, damping: number, motor: number];
}

/** Both legs from the hip down, with the dimensions, springs and motors of the DM Control suite's cheetah. */
const legs: readonly (readonly Segment[])[] = [
  [
    {
      name: 'back_thigh',
      at: [-0.5, 0],
      capsule: [0.1, -0.13, -218, 0.145],
      range: [-30, 60],
      spring: [240, 6, 120],
    },
    {
      name: 'back_shin',
      at: [0.16, -0.25],
      capsule: [-0.14, -0.07, -116, 0.15],
      range: [-50, 50],
      spring: [180, 4.5, 90],
    },
    {
      name: 'back_foot',
      at: [-0.28, -0.14],
      capsule: [0.03, -0.097, -15, 0.094],
      range: [-230, 50],
      spring: [120, 3, 60],
    },
  ],
  [
    {
      name: 'front_thigh',
      at: [0.5, 0],
      capsule: [-0.07, -0.12, 30, 0.133],
      range: [-57, 0.4],
      spring: [180, 4.5, 90],
    },
    {
      name: 'front_shin',
      at: [-0.14, -0.24],
      capsule: [0.065, -0.09, -34, 0.106],
      range: [-70, 50],
      spring: [120, 3, 60],
    },
    {
      name: 'front_foot',
      at: [0.13, -0.18],
      capsule: [0.045, -0.07, -34, 0.07],
      range: [-28, 28],
      spring: [60, 1.5, 30],
    },
  ],
];

/** The MJCF of the first segment, which contains that of the segments below it. */
function chain([segment, ...rest]: readonly Segment[]): string {
  if (segment === undefined) return '';
  const { name, at, capsule, range, spring } = segment;
  return `
      <body name="${name}" pos="${at[0]} 0 ${at[1]}">
        <joint name="${name}" range="${range.join(' ')}" stiffness="${spring[0]}" damping="${spring[1]}"/>
        <geom name="${name}" pos="${capsule[0]} 0 ${capsule[1]}" euler="0 ${capsule[2]} 0" size="0.046 ${capsule[3]}"/>
        ${chain(rest)}
      </body>`;
}

/** A torso with a head, a back leg and a front leg, 14 kg in total, which moves only in a vertical plane. */
export const cheetahMjcf = `
<mujoco model="cheetah">
  <compiler settotalmass="14"/>
  <size memory="512K"/>
  <option timestep="0.01"/>
  <default>
    <joint type="hinge" axis="0 1 0" limited="true" armature="0.1"/>
    <geom type="capsule" friction="0.4 0.1 0.1"/>
    <motor ctrllimited="true" ctrlrange="-1 1"/>
    <default class="root">
      <joint limited="false" armature="0"/>
    </default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" friction="1 0.005 0.0001" size="0 0 1"/>
    <body name="torso" pos="0 0 0.7">
      <joint name="root_x" class="root" type="slide" axis="1 0 0"/>
      <joint name="root_z" class="root" type="slide" axis="0 0 1"/>
      <joint name="root_pitch" class="root"/>
      <geom name="torso" fromto="-0.5 0 0 0.5 0 0" size="0.046"/>
      <geom name="head" pos="0.6 0 0.1" euler="0 50 0" size="0.046 0.15"/>
${legs.map(chain).join('')}
    </body>
  </worldbody>
  <actuator>
    ${legs
      .flat()
      .map(({ name, spring }) => `<motor name="${name}" joint="${name}" gear="${spring[2]}"/>`)
      .join('\n    ')}
  </actuator>
  <sensor>
    <subtreelinvel name="velocity" body="torso"/>
  </sensor>
</mujoco>`;

/** Grows linearly from 0 at rest to 1 at 10 m/s (`speed` is the forward speed of the center of mass, in m/s). */
export function cheetahReward(speed: number): number {
  return tolerance(speed, {
    lower: runSpeed,
    upper: Infinity,
    margin: runSpeed,
    valueAtMargin: 0,
    falloff: 'linear',
  });
}

export const cheetahRun: TaskDefinition = {
  name: 'cheetah_run',
  description: 'Run at 10 m/s on a back and a front leg in a plane (6 actuators)',
  mjcf: cheetahMjcf,
  substeps: 1,
  bind(physics) {
    const velocity = physics.sensor('velocity').start;
    const rootHeight = physics.joint('root_z').position;
    const rootPitch = physics.joint('root_pitch').position;
    return {
      initialize(key) {
        placeOnFloor(physics, key, {
          pose(attempt, spread) {
            randomizeJoints(physics, attempt, spread);
            // Belly down, since on its back it could not run. A fall from this low height does not turn it over.
            physics.qpos[rootPitch] = 0;
          },
          height: rootHeight,
          below: -1,
          above: 2,
        });
      },
      /** The whole state, except for the distance that it has run. */
      observe: () => ({ position: physics.qpos.subarray(1), velocity: physics.qvel }),
      reward: () => cheetahReward(physics.sensordata[velocity]),
    };
  },
};
