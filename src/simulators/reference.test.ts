import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { builtInTasks } from './built-in-tasks.js';
import { Physics } from './physics.js';
import { type Falloff, tolerance } from './rewards.js';
import { type HumanoidState, humanoidReward } from './tasks/humanoid.js';
import { type QuadrupedState, quadrupedReward } from './tasks/quadruped.js';
import { type WalkerState, walkerReward } from './tasks/walker.js';

interface Trajectory {
  readonly qpos: number[];
  readonly qvel: number[];
  readonly target?: [number, number, number];
  readonly controls: number[][];
  readonly observations: Record<string, number[]>[];
  readonly rewards: number[];
}

interface Fixture {
  readonly tolerance: [number, number, number, number, Falloff, number, number][];
  readonly rewards: {
    readonly humanoid_stand: [HumanoidState, number][];
    readonly quadruped_run: [QuadrupedState, number][];
    readonly walker: [WalkerState, number, number][];
  };
  readonly trajectories: Record<string, Trajectory>;
}

// Written by test/references/dm_control_suite.py, with nine digits.
const fixture = JSON.parse(
  readFileSync(new URL('../../test/references/dm_control_suite.json', import.meta.url), 'utf8'),
) as Fixture;

describe("DM Control's suite", () => {
  it('has the same tolerance function', () => {
    for (const [x, lower, upper, margin, falloff, valueAtMargin, expected] of fixture.tolerance) {
      expect(tolerance(x, { lower, upper, margin, falloff, valueAtMargin })).toBeCloseTo(expected, 8);
    }
  });

  it('rewards the same states equally', () => {
    const { humanoid_stand, quadruped_run, walker } = fixture.rewards;
    for (const [state, expected] of humanoid_stand) expect(humanoidReward(state)).toBeCloseTo(expected, 8);
    for (const [state, expected] of quadruped_run) expect(quadrupedReward(state)).toBeCloseTo(expected, 8);
    for (const [state, speed, expected] of walker) {
      expect(walkerReward(state, speed)).toBeCloseTo(expected, 8);
    }
  });

  it.each(Object.entries(fixture.trajectories))(
    'has the motion, observations and rewards of %s',
    async (name, expected) => {
      const definition = builtInTasks.find((task) => task.name === name);
      if (definition === undefined) throw new Error(`no task ${name}`);
      const physics = await Physics.load(definition.mjcf);
      const task = definition.bind(physics);
      physics.qpos.set(expected.qpos);
      physics.qvel.set(expected.qvel);
      if (expected.target !== undefined) physics.placeBody('target', expected.target);
      physics.forward();
      let [worst, where] = [0, ''];
      const compare = (actual: number, wanted: number, what: string) => {
        const error = Math.abs(actual - wanted) / Math.max(1, Math.abs(wanted));
        if (error > worst) [worst, where] = [error, what];
      };
      expected.controls.forEach((controls, t) => {
        physics.ctrl.set(controls);
        physics.step(definition.substeps);
        const observations = task.observe();
        expect(Object.keys(observations)).toEqual(Object.keys(expected.observations[t]));
        for (const [key, wanted] of Object.entries(expected.observations[t])) {
          expect(observations[key].length).toBe(wanted.length);
          wanted.forEach((v, i) => {
            compare(observations[key][i], v, `${key}[${i}] at step ${t}`);
          });
        }
        compare(task.reward(), expected.rewards[t], `reward at step ${t}`);
      });
      expect(worst, where).toBeLessThan(1e-6);
      physics.close();
    },
  );
});
