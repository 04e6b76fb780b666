import { uniform } from '../draws.js';
import { randomizeJoints } from '../placement.js';
import { tolerance } from '../rewards.js';
import type { TaskDefinition } from '../task.js';

const fingerRadius = 0.01;
const targetRadius = 0.05;

/**
 * An arm of two 12 cm links in a horizontal plane, and a 5 cm target at a random place in each episode. Sizes and motors are
 * those of the DM Control suite's `reacher` with the large target.
 */
export const reacherMjcf = `
<mujoco model="reacher">
  <size memory="256K"/>
  <option timestep="0.02">
    <flag contact="disable"/>
  </option>
  <default>
    <joint type="hinge" axis="0 0 1" damping="0.01"/>
    <geom type="capsule" size="${fingerRadius}"/>
    <motor gear="0.05" ctrllimited="true" ctrlrange="-1 1"/>
  </default>
  <worldbody>
    <body name="target" pos="0 0 0.01">
      <geom name="target" type="sphere" size="${targetRadius}" mass="0" rgba="0.84 0.37 0 0.7"/>
    </body>
    <body name="arm" pos="0 0 0.01">
      <joint name="shoulder"/>
      <geom name="arm" fromto="0 0 0 0.12 0 0"/>
      <body name="hand" pos="0.12 0 0">
        <joint name="wrist" limited="true" range="-160 160"/>
        <geom name="hand" fromto="0 0 0 0.1 0 0"/>
        <geom name="finger" type="sphere" pos="0.12 0 0"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="shoulder" joint="shoulder"/>
    <motor name="wrist" joint="wrist"/>
  </actuator>
</mujoco>`;

/** 1 if finger and target touch (`distance` is that of their centers, in meters), otherwise 0. */
export function reacherReward(distance: number): number {
  return tolerance(distance, { upper: targetRadius + fingerRadius });
}

export const reacher: TaskDefinition = {
  name: 'reacher',
  description: 'Bring the finger of a two-link arm to a target, and hold it there (2 actuators)',
  mjcf: reacherMjcf,
  substeps: 1,
  bind(physics) {
    const finger = 3 * physics.geom('finger');
    const target = 3 * physics.geom('target');
    /** The vector from the finger to the target, in the plane. */
    const toTarget = (): [number, number] => {
      const at = physics.geomPositions;
      return [at[target] - at[finger], at[target + 1] - at[finger + 1]];
    };
    return {
      initialize(key) {
        randomizeJoints(physics, key);
        const angle = uniform(key, 'target angle', 0, 2 * Math.PI);
        const radius = uniform(key, 'target radius', 0.05, 0.2);
        physics.placeBody('target', [radius * Math.sin(angle), radius * Math.cos(angle), fingerRadius]);
      },
      observe: () => ({ position: physics.qpos, to_target: toTarget(), velocity: physics.qvel }),
      reward: () => reacherReward(Math.hypot(...toTarget())),
    };
  },
};
