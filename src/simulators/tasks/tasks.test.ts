import { describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { Physics } from '../physics.js';
import type { TaskDefinition } from '../task.js';
import { acrobotSwingup } from './acrobot.js';
import { cartpoleBalance, cartpoleSwingup } from './cartpole.js';
import { cheetahRun } from './cheetah.js';
import { humanoidStand } from './humanoid.js';
import { humanoidTorques } from './humanoid-model.js';
import { quadrupedControls, quadrupedRun, quadrupedStanding } from './quadruped.js';
import { reacher } from './reacher.js';
import { walkerStand } from './walker.js';

async function bound(definition: TaskDefinition) {
  const physics = await Physics.load(definition.mjcf);
  const task = definition.bind(physics);
  physics.reset();
  physics.forward();
  return { physics, task };
}

describe('the target pose of a task earns the full reward', () => {
  it.each([cartpoleSwingup, acrobotSwingup, walkerStand, humanoidStand])('$name', async (definition) => {
    const { physics, task } = await bound(definition);
    expect(task.reward()).toBeCloseTo(1, 6);
    expect(physics.contacts).toBe(0);
  });

  it('reacher', async () => {
    const { physics, task } = await bound(reacher);
    physics.placeBody('target', [0.2, 0, 0.01]);
    physics.forward();
    expect(task.reward()).toBe(1);
    physics.qpos[0] = 0.5;
    physics.forward();
    expect(task.reward()).toBe(0);
  });

  it('hanging earns almost no reward', async () => {
    for (const definition of [cartpoleSwingup, acrobotSwingup]) {
      const { physics, task } = await bound(definition);
      physics.qpos[definition === cartpoleSwingup ? 1 : 0] = Math.PI;
      physics.forward();
      expect(task.reward()).toBeLessThan(1e-3);
    }
  });
});

describe('episodes begin', () => {
  it.each([walkerStand, cheetahRun, quadrupedRun, humanoidStand])(
    '$name: just above the floor, with no overlaps, in different poses',
    async (definition) => {
      const { physics, task } = await bound(definition);
      const starts = new Set<string>();
      for (let seed = 0; seed < 20; seed++) {
        physics.reset();
        task.initialize(randomKey(seed));
        physics.forward();
        expect(physics.contacts).toBe(0);
        starts.add(physics.qpos.join());
        // Without any control it falls less than a body's length before it meets the floor.
        for (let t = 0; t < 40 && physics.contacts === 0; t++) physics.step(definition.substeps);
        expect(physics.contacts).toBeGreaterThan(0);
      }
      expect(starts.size).toBe(20);
    },
  );

  it('cartpoles: near the middle, hanging or upright', async () => {
    for (const [definition, cosine] of [
      [cartpoleSwingup, -1],
      [cartpoleBalance, 1],
    ] as const) {
      const { physics, task } = await bound(definition);
      for (let seed = 0; seed < 20; seed++) {
        physics.reset();
        task.initialize(randomKey(seed));
        expect(Math.abs(physics.qpos[0])).toBeLessThan(0.11);
        expect(Math.cos(physics.qpos[1])).toBeCloseTo(cosine, 2);
      }
    }
  });

  it('reacher: with the target within reach', async () => {
    const { physics, task } = await bound(reacher);
    for (let seed = 0; seed < 20; seed++) {
      physics.reset();
      task.initialize(randomKey(seed));
      physics.forward();
      const target = physics.geomPositions.subarray(3 * physics.geom('target'));
      const distance = Math.hypot(target[0], target[1]);
      expect(distance).toBeGreaterThanOrEqual(0.05);
      expect(distance).toBeLessThanOrEqual(0.2);
    }
  });
});

describe('the tasks can be solved', () => {
  it('a trot carries the quadruped forward, upright', async () => {
    const { physics, task } = await bound(quadrupedRun);
    physics.qpos.set(quadrupedStanding, 7);
    physics.forward();
    const cycle = 3;
    const [swing, lift] = [0.5, 0.5];
    let reward = 0;
    const seconds = 6;
    const steps = seconds / (quadrupedRun.substeps * physics.timestep);
    for (let t = 0; t < steps; t++) {
      const ramp = Math.min(1, t / 25);
      const angles = quadrupedStanding.map((angle, i) => {
        // Diagonal legs together: front left with back right.
        const leg = Math.floor(i / 3);
        const phase = 2 * Math.PI * cycle * (t / steps) * seconds + (leg === 0 || leg === 3 ? 0 : Math.PI);
        const up = ramp * lift * Math.max(0, Math.cos(phase));
        return angle + [0, up / 2 - ramp * swing * Math.sin(phase), -up][i % 3];
      });
      physics.ctrl.set(quadrupedControls(angles));
      physics.step(quadrupedRun.substeps);
      reward += task.reward() / steps;
    }
    expect(physics.qpos[0] / seconds).toBeGreaterThan(0.4);
    expect(physics.xmat[9 * physics.body('trunk') + 8]).toBeGreaterThan(0.98);
    // Standing still earns one half.
    expect(reward).toBeGreaterThan(0.55);
  });

  it('the humanoid can keep standing: its ankles hold the center of mass over its feet', async () => {
    const { physics, task } = await bound(humanoidStand);
    const torso = physics.body('torso');
    const feet = [physics.body('right_foot'), physics.body('left_foot')];
    const velocity = physics.sensor('velocity').start;
    const stiff = ['abdomen_x', 'abdomen_y', 'abdomen_z'].concat(
      ['right', 'left'].flatMap((side) =>
        ['hip_x', 'hip_y', 'hip_z', 'knee'].map((name) => `${side}_${name}`),
      ),
    );
    const ankles = ['right', 'left'].map((side) => ({
      y: physics.joint(`${side}_ankle_y`).velocity - 6,
      x: physics.joint(`${side}_ankle_x`).velocity - 6,
    }));
    const held = stiff.map((name) => physics.joint(name));
    const setTorque = (actuator: number, torque: number) => {
      physics.ctrl[actuator] = Math.max(-1, Math.min(1, torque / humanoidTorques[actuator]));
    };
    let reward = 0;
    for (let t = 0; t < 400; t++) {
      for (const joint of held) setTorque(joint.velocity - 6, -300 * physics.qpos[joint.position]);
      const center = (axis: number) => physics.subtreeCenters[3 * torso + axis];
      const between = (axis: number) =>
        (physics.xpos[3 * feet[0] + axis] + physics.xpos[3 * feet[1] + axis]) / 2;
      const forward = 400 * (center(0) - between(0) - 0.02) + 100 * physics.sensordata[velocity];
      const sideways = 400 * (center(1) - between(1)) + 100 * physics.sensordata[velocity + 1];
      for (const ankle of ankles) {
        setTorque(ankle.y, forward);
        setTorque(ankle.x, -sideways);
      }
      physics.step(humanoidStand.substeps);
      reward += task.reward() / 400;
    }
    expect(reward).toBeGreaterThan(0.95);
  });
});
