import { foldIn } from '../../core/random-keys.js';
import { normals, uniform } from '../draws.js';
import type { Physics } from '../physics.js';
import { tolerance } from '../rewards.js';
import type { TaskDefinition } from '../task.js';

/**
 * A cart of 1 kg on a rail 3.6 m long, a pole of 0.1 kg and 1 m hinged to it, pushed with up to 10 N: Barto, Sutton and
 * Anderson's problem with the numbers of the DM Control suite. Nothing collides; the rail's ends are joint limits.
 */
export const cartpoleMjcf = `
<mujoco model="cartpole">
  <size memory="256K"/>
  <option timestep="0.01" integrator="RK4">
    <flag contact="disable"/>
  </option>
  <worldbody>
    <geom name="rail" type="capsule" fromto="-1.9 0.17 1 1.9 0.17 1" size="0.02" rgba="0.55 0.58 0.61 1"/>
    <body name="cart" pos="0 0 1">
      <joint name="slider" type="slide" axis="1 0 0" limited="true" range="-1.8 1.8"
             damping="5e-4" solreflimit="0.08 1"/>
      <geom name="cart" type="box" size="0.2 0.15 0.1" mass="1"/>
      <body name="pole">
        <joint name="hinge" type="hinge" axis="0 1 0" damping="2e-6"/>
        <geom name="pole" type="capsule" fromto="0 0 0 0 0 1" size="0.045" mass="0.1"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="push" joint="slider" gear="10" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>`;

export interface CartpoleState {
  /** The cart's position, in meters from the middle of the rail. */
  readonly position: number;
  /** Cosine of the pole's angle from upright. */
  readonly poleCosine: number;
  /** The pole's angular velocity, in rad/s. */
  readonly poleVelocity: number;
  /** In [−1, 1]. */
  readonly control: number;
}

/** The smooth reward of the DM Control suite's cartpole: upright, in the middle, with little force and little swing. */
export function cartpoleReward({ position, poleCosine, poleVelocity, control }: CartpoleState): number {
  const upright = (1 + poleCosine) / 2;
  const centered = (1 + tolerance(position, { margin: 2 })) / 2;
  const gentle = (4 + tolerance(control, { margin: 1, valueAtMargin: 0, falloff: 'quadratic' })) / 5;
  const still = (1 + tolerance(poleVelocity, { margin: 5 })) / 2;
  return upright * centered * gentle * still;
}

function cartpole(
  name: string,
  description: string,
  start: (key: Parameters<typeof uniform>[0]) => { position: number; angle: number },
): TaskDefinition {
  return {
    name,
    description,
    mjcf: cartpoleMjcf,
    substeps: 1,
    bind(physics: Physics) {
      // The slider has the first element of `qpos` and of `qvel`, the hinge the second.
      return {
        initialize(key) {
          const { position, angle } = start(key);
          physics.qpos.set([position, angle]);
          const velocities = normals(foldIn(key, 'velocity'), physics.nv);
          physics.qvel.set(velocities.map((v) => 0.01 * v));
        },
        observe() {
          const [position, angle] = physics.qpos;
          return { position: [position, Math.cos(angle), Math.sin(angle)], velocity: physics.qvel };
        },
        reward() {
          return cartpoleReward({
            position: physics.qpos[0],
            poleCosine: Math.cos(physics.qpos[1]),
            poleVelocity: physics.qvel[1],
            control: physics.ctrl[0],
          });
        },
      };
    },
  };
}

export const cartpoleSwingup = cartpole(
  'cartpole_swingup',
  'Swing a hanging pole up by pushing its cart, and keep it up (1 actuator)',
  (key) => {
    const [position, angle] = normals(foldIn(key, 'position'), 2);
    return { position: 0.01 * position, angle: Math.PI + 0.01 * angle };
  },
);

export const cartpoleBalance = cartpole(
  'cartpole_balance',
  'Keep a pole upright by pushing its cart (1 actuator)',
  (key) => ({ position: uniform(key, 'slider', -0.1, 0.1), angle: uniform(key, 'hinge', -0.034, 0.034) }),
);
