import { uniform } from '../draws.js';
import { tolerance } from '../rewards.js';
import type { TaskDefinition } from '../task.js';

/** The height of the tip, in meters, with both links upright. */
const targetHeight = 4;
const targetRadius = 0.2;

/**
 * Two links of 1 m and 1 kg hung from a shoulder 2 m up, with a motor of 2 N m at the elbow only: Coulom's parameters,
 * as in the DM Control suite. Angles are 0 upright.
 */
export const acrobotMjcf = `
<mujoco model="acrobot">
  <size memory="256K"/>
  <option timestep="0.01" integrator="RK4">
    <flag constraint="disable"/>
  </option>
  <default>
    <joint type="hinge" axis="0 1 0" damping="0.05"/>
    <geom type="capsule" fromto="0 0 0 0 0 1" mass="1"/>
  </default>
  <worldbody>
    <body name="upper" pos="0 0 2">
      <joint name="shoulder"/>
      <geom name="upper" size="0.05"/>
      <body name="lower" pos="0 0 1">
        <joint name="elbow"/>
        <geom name="lower" size="0.049"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="elbow" joint="elbow" gear="2" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>`;

/** 1 with the tip within the target, falling smoothly to 0.1 at 1 m from it (`distance` in meters). */
export function acrobotReward(distance: number): number {
  return tolerance(distance, { upper: targetRadius, margin: 1 });
}

export const acrobotSwingup: TaskDefinition = {
  name: 'acrobot_swingup',
  description: 'Swing two links up with a motor at the elbow alone, and balance them (1 actuator)',
  mjcf: acrobotMjcf,
  substeps: 1,
  bind(physics) {
    /** Angles of both links from upright, in the world frame. */
    const angles = (): [number, number] => [physics.qpos[0], physics.qpos[0] + physics.qpos[1]];
    return {
      initialize(key) {
        physics.qpos.set([
          uniform(key, 'shoulder', -Math.PI, Math.PI),
          uniform(key, 'elbow', -Math.PI, Math.PI),
        ]);
      },
      observe() {
        const [upper, lower] = angles();
        return {
          orientations: [Math.sin(upper), Math.sin(lower), Math.cos(upper), Math.cos(lower)],
          velocity: physics.qvel,
        };
      },
      reward() {
        const [upper, lower] = angles();
        const x = Math.sin(upper) + Math.sin(lower);
        const z = 2 + Math.cos(upper) + Math.cos(lower);
        return acrobotReward(Math.hypot(x, z - targetHeight));
      },
    };
  },
};
