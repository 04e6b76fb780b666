import { describe, expect, it } from 'vitest';
import { foldIn, randomKey } from '../../core/random-keys.js';
import {
  annealedEpsilons,
  Exploration,
  explorationEpsilons,
  RandomPushes,
  withRandomIntegers,
} from './exploration.js';

describe('the share of random actions', () => {
  it('falls from one environment to the next', () => {
    const epsilons = explorationEpsilons(undefined, 'integer', 8);
    expect(epsilons).toHaveLength(8);
    epsilons.forEach((epsilon, k) => {
      expect(epsilon).toBeCloseTo(0.4 ** (1 + k), 12);
    });
    expect(explorationEpsilons(0.1, 'integer', 1)).toEqual([0.1 ** 4.5]);
    expect(explorationEpsilons(0, 'integer', 2)).toEqual([0, 0]);
  });

  it('is 0 for continuous actions, unless it is set, and falls less', () => {
    expect(explorationEpsilons(undefined, 'continuous', 2)).toEqual([0, 0]);
    expect(explorationEpsilons(0.4, 'continuous', 2)).toEqual([0.4, 0.4 ** 2]);
    expect(explorationEpsilons(0.4, 'continuous', 1)).toEqual([0.4 ** 1.5]);
  });

  it('is 1 at first, and becomes that of each environment in three more warm-ups', () => {
    const at = (steps: number) => annealedEpsilons([0.4, 0.01, 0], steps, 100 / 3);
    expect(at(0)).toEqual([1, 1, 0]);
    expect(at(50)).toEqual([0.5, 0.5, 0]);
    expect(at(80)[0]).toBe(0.4);
    expect(at(80)[1]).toBeCloseTo(0.2, 12);
    expect(at(100)).toEqual([0.4, 0.01, 0]);
    expect(at(900)).toEqual([0.4, 0.01, 0]);
    expect(annealedEpsilons([0.4], 0, 0)).toEqual([0.4]);
  });
});

describe('random integers', () => {
  it('replace all integers of an action, as often as they should, and each value equally often', () => {
    const actionValues = [3, 0, 2, 1];
    const counts = [0, 0];
    const values = [0, 0, 0];
    const steps = 10_000;
    for (let step = 0; step < steps; step++) {
      const given = Float32Array.of(9, 9, 9, 9, 9, 9, 9, 9);
      const actions = withRandomIntegers(given, [0.4, 0.1], actionValues, foldIn(randomKey(1), step));
      for (const k of [0, 1]) {
        const [first, continuous, second, third] = actions.subarray(4 * k, 4 * k + 4);
        expect(continuous).toBe(9);
        if (first === 9) {
          expect([second, third]).toEqual([9, 9]);
          continue;
        }
        counts[k] += 1;
        values[first + 1] += 1;
        expect([-1, 1]).toContain(second);
        expect(third).toBe(0);
      }
    }
    expect(counts[0] / steps).toBeCloseTo(0.4, 1.5);
    expect(counts[1] / steps).toBeCloseTo(0.1, 1.5);
    for (const count of values) expect(count / (counts[0] + counts[1])).toBeCloseTo(1 / 3, 1.5);
  });

  it('are none where ε is 0', () => {
    const given = Float32Array.of(1, -1);
    expect(withRandomIntegers(given, [0, 0], [2], randomKey(0))).toEqual(given);
  });
});

describe('random pushes', () => {
  /** For each environment, the first dimension's value at each step, given actions of 9. */
  function played(epsilons: readonly number[], actionValues: readonly number[], steps: number): number[][] {
    const pushes = new RandomPushes(epsilons.length, actionValues, randomKey(4));
    const values = epsilons.map((): number[] => []);
    for (let step = 0; step < steps; step++) {
      const given = new Float32Array(epsilons.length * actionValues.length).fill(9);
      const actions = pushes.apply(given, epsilons, step);
      values.forEach((all, k) => {
        all.push(actions[k * actionValues.length]);
      });
    }
    return values;
  }

  /** The lengths of the runs of one value, those of the policy's action excluded. */
  function lengths(values: readonly number[]): number[] {
    const runs: number[] = [];
    values.forEach((value, i) => {
      if (value === 9) return;
      if (value === values[i - 1]) runs[runs.length - 1] += 1;
      else runs.push(1);
    });
    return runs;
  }

  it('make up the share ε of the steps, and are spread evenly over the bounds', () => {
    const steps = 40_000;
    for (const [k, values] of played([0.4, 0.1, 0, 1], [0], steps).entries()) {
      const pushed = values.filter((value) => value !== 9);
      const share = [0.4, 0.1, 0, 1][k];
      expect(Math.abs(pushed.length / steps - share)).toBeLessThan(0.15 * share + 1e-9);
      expect(pushed.every((value) => value >= -1 && value <= 1)).toBe(true);
      if (share > 0)
        expect(Math.abs(pushed.filter((value) => value > 0).length / pushed.length - 0.5)).toBeLessThan(0.1);
    }
  });

  it('last n steps with a probability proportional to 1/n², up to 100 steps', () => {
    const runs = lengths(played([0.3], [0], 200_000)[0]);
    const share = (n: number) => runs.filter((length) => length === n).length / runs.length;
    const total = Array.from({ length: 100 }, (_, i) => 1 / (i + 1) ** 2).reduce((a, b) => a + b);
    for (const n of [1, 2, 3, 5]) expect(share(n)).toBeCloseTo(1 / n ** 2 / total, 1.7);
    expect(Math.max(...runs)).toBeGreaterThan(50);
    expect(Math.max(...runs)).toBeLessThanOrEqual(100);
  });

  it('leave integers as they are', () => {
    const pushes = new RandomPushes(1, [3, 0], randomKey(1));
    const [integer, continuous] = pushes.apply(Float32Array.of(9, 9), [1], 0);
    expect(integer).toBe(9);
    expect(Math.abs(continuous)).toBeLessThanOrEqual(1);
  });
});

describe('exploration', () => {
  const settings = { warmupSteps: 10, explorationEpsilon: 0.5 };
  const create = (actionValues: readonly number[]) =>
    new Exploration(settings, 3, actionValues, randomKey(7));
  const act = async (z: Float32Array) => z;

  it('goes on from a snapshot exactly, in the middle of pushes too', async () => {
    const [one, other] = [create([0, 4]), create([0, 4])];
    for (let step = 0; step < 60; step++) await one.actions(step, 3 * step, act);
    other.restore(one.snapshot());
    for (let step = 60; step < 120; step++) {
      expect(await other.actions(step, 3 * step, act)).toEqual(await one.actions(step, 3 * step, act));
    }
  });

  it('keeps nothing of pushes if there are none, so that earlier checkpoints fit', () => {
    expect(Object.keys(create([4]).snapshot())).toEqual(['noise']);
    expect(Object.keys(create([4, 0]).snapshot())).toEqual(['noise', 'pushes']);
    const byDefault = new Exploration({ warmupSteps: 10 }, 3, [0], randomKey(7));
    expect(Object.keys(byDefault.snapshot())).toEqual(['noise']);
  });

  it('is the policy alone for continuous actions by default', async () => {
    const byDefault = new Exploration({ warmupSteps: 0 }, 2, [0, 0], randomKey(7));
    const chosen = Float32Array.of(0.1, 0.2, 0.3, 0.4);
    for (let step = 0; step < 50; step++) {
      expect(await byDefault.actions(step, step, async () => chosen)).toEqual(chosen);
    }
  });

  it('does not ask the policy during the warm-up', async () => {
    const never = () => Promise.reject(new Error('asked'));
    await expect(create([0]).actions(0, 9, never)).resolves.toHaveLength(3);
    await expect(create([0]).actions(0, 10, never)).rejects.toThrow('asked');
  });
});
