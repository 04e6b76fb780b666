import type { Physics } from '../physics.js';
import { placeOnFloor, randomizeJoints } from '../placement.js';
import { tolerance } from '../rewards.js';
import type { TaskDefinition } from '../task.js';

/** The height of the torso, in meters, from which the walker counts as standing. */
const standHeight = 1.2;

/** A leg, `y` meters to the side of the torso. The frame of each body is at the joint that moves it. */
const leg = (side: string, y: number) => `
      <body name="${side}_thigh" pos="0 ${y} -0.3">
        <joint name="${side}_hip" range="-20 100"/>
        <geom name="${side}_thigh" fromto="0 0 0 0 0 -0.45" size="0.05"/>
        <body name="${side}_shin" pos="0 0 -0.45">
          <joint name="${side}_knee" range="-150 0"/>
          <geom name="${side}_shin" fromto="0 0 0 0 0 -0.5" size="0.04"/>
          <body name="${side}_foot" pos="0 0 -0.5">
            <joint name="${side}_ankle" range="-45 45"/>
            <geom name="${side}_foot" fromto="-0.04 0 0 0.16 0 0" size="0.05"/>
          </body>
        </body>
      </body>`;

const legMotors = (side: string) => `
    <motor name="${side}_hip" joint="${side}_hip" gear="100"/>
    <motor name="${side}_knee" joint="${side}_knee" gear="50"/>
    <motor name="${side}_ankle" joint="${side}_ankle" gear="20"/>`;

/**
 * A torso on two legs that moves only in a vertical plane, with the dimensions and motors of the DM Control suite's planar
 * walker. Its parts touch the floor but not each other.
 */
export const walkerMjcf = `
<mujoco model="walker">
  <size memory="512K"/>
  <option timestep="0.0025"/>
  <default>
    <joint axis="0 -1 0" damping="0.1" armature="0.01" limited="true" solimplimit="0 0.99 0.01"/>
    <geom type="capsule" contype="1" conaffinity="0" friction="0.7 0.1 0.1"/>
    <motor ctrllimited="true" ctrlrange="-1 1"/>
    <default class="root">
      <joint damping="0" armature="0" limited="false"/>
    </default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" conaffinity="1" size="0 0 1"/>
    <body name="torso" pos="0 0 1.3">
      <joint name="root_z" class="root" type="slide" axis="0 0 1"/>
      <joint name="root_x" class="root" type="slide" axis="1 0 0"/>
      <joint name="root_pitch" class="root" type="hinge" axis="0 1 0"/>
      <geom name="torso" fromto="0 0 -0.3 0 0 0.3" size="0.07"/>
${leg('right', -0.05)}
${leg('left', 0.05)}
    </body>
  </worldbody>
  <actuator>
${legMotors('right')}
${legMotors('left')}
  </actuator>
  <sensor>
    <subtreelinvel name="velocity" body="torso"/>
  </sensor>
</mujoco>`;

export interface WalkerState {
  /** The height of the torso's center, in meters. */
  readonly height: number;
  /** Cosine of the torso's angle from upright. */
  readonly upright: number;
  /** The forward velocity of the body's center of mass, in m/s. */
  readonly speed: number;
}

/** DM Control's reward for standing tall and upright, and for moving forward at `targetSpeed` (m/s) if that is above 0. */
export function walkerReward({ height, upright, speed }: WalkerState, targetSpeed: number): number {
  const tall = tolerance(height, { lower: standHeight, upper: Infinity, margin: standHeight / 2 });
  const stand = (3 * tall + (1 + upright) / 2) / 4;
  if (targetSpeed === 0) return stand;
  const move = tolerance(speed, {
    lower: targetSpeed,
    upper: Infinity,
    margin: targetSpeed / 2,
    valueAtMargin: 0.5,
    falloff: 'linear',
  });
  return (stand * (5 * move + 1)) / 6;
}

function walker(name: string, description: string, targetSpeed: number): TaskDefinition {
  return {
    name,
    description,
    mjcf: walkerMjcf,
    substeps: 10,
    bind(physics: Physics) {
      const torso = physics.body('torso');
      const bodies = Array.from({ length: 7 }, (_, i) => torso + i);
      const velocity = physics.sensor('velocity').start;
      const rootHeight = physics.joint('root_z').position;
      return {
        initialize(key) {
          placeOnFloor(physics, key, {
            pose: (attempt, spread) => randomizeJoints(physics, attempt, spread),
            height: rootHeight,
            below: -1.3,
            above: 1,
          });
        },
        observe() {
          const { xmat } = physics;
          return {
            orientations: bodies.flatMap((body) => [xmat[9 * body], xmat[9 * body + 2]]),
            height: [physics.xpos[3 * torso + 2]],
            velocity: physics.qvel,
          };
        },
        reward() {
          const state = {
            height: physics.xpos[3 * torso + 2],
            upright: physics.xmat[9 * torso + 8],
            speed: physics.sensordata[velocity],
          };
          return walkerReward(state, targetSpeed);
        },
      };
    },
  };
}

export const walkerStand = walker('walker_stand', 'Stand up on two legs in a plane (6 actuators)', 0);
export const walkerWalk = walker('walker_walk', 'Walk at 1 m/s on two legs in a plane (6 actuators)', 1);
export const walkerRun = walker('walker_run', 'Run at 8 m/s on two legs in a plane (6 actuators)', 8);
