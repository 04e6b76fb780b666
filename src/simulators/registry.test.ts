import { describe, expect, it } from 'vitest';
import { fillUniform, foldIn, randomKey } from '../core/random-keys.js';
import type { Environment, NamedTensorValues } from '../environments/environment.js';
import { createSimulator, defaultSimulator, simulators } from './registry.js';

/** Random actions over the whole range, from a key. */
function actions(environment: Environment, seed: number): (step: number) => NamedTensorValues {
  const { shape, minimum, maximum } = environment.actionSpec.action;
  const low = minimum as number[];
  const high = maximum as number[];
  return (step) => {
    const data = fillUniform(foldIn(randomKey(seed), step), new Float32Array(shape[0]));
    return {
      action: {
        dtype: 'float32',
        shape,
        data: data.map((u, i) => Math.min(high[i], low[i] + (high[i] - low[i]) * u)),
      },
    };
  };
}

/** Everything that an episode of random actions shows, as numbers, and its rewards. */
async function episode(environment: Environment, seed: number) {
  const choose = actions(environment, seed);
  const numbers: number[] = [];
  const rewards: number[] = [];
  const record = (observation: NamedTensorValues) => {
    for (const { data } of Object.values(observation)) numbers.push(...(data as Float32Array));
  };
  record((await environment.reset({ seed })).observation);
  for (let t = 0; ; t++) {
    const { observation, reward, terminated, truncated } = await environment.step(choose(t));
    record(observation);
    rewards.push(reward);
    if (terminated || truncated) return { numbers, rewards, terminated };
  }
}

describe.each(simulators.names())('%s', (name) => {
  it('stays finite, with rewards in [0, 1], to the end of 1000-step episodes of random actions', async () => {
    const environment = await simulators.get(name).create({});
    for (const seed of [0, 1]) {
      const { numbers, rewards, terminated } = await episode(environment, seed);
      expect(terminated).toBe(false);
      expect(rewards.length).toBe(1000);
      expect(numbers.every(Number.isFinite)).toBe(true);
      expect(rewards.every((r) => r >= 0 && r <= 1)).toBe(true);
    }
    await environment.close();
  });

  it('gives the same episode for the same seed, bit for bit, at any time, and another for another seed', async () => {
    const settings = { episodeSteps: 200 };
    const used = await simulators.get(name).create(settings);
    await episode(used, 5);
    const fresh = await simulators.get(name).create(settings);
    const expected = await episode(fresh, 7);
    expect(await episode(used, 7)).toEqual(expected);
    expect((await episode(used, 8)).numbers).not.toEqual(expected.numbers);
    await used.close();
    await fresh.close();
  });
});

describe('createSimulator', () => {
  it('makes the named simulator, with its settings', async () => {
    const reacher = await createSimulator({ simulator: 'reacher', episodeSteps: 1 });
    expect(reacher.actionSpec.action.shape).toEqual([2]);
    await reacher.reset();
    expect((await reacher.step(actions(reacher, 0)(0))).truncated).toBe(true);
    await reacher.close();
  });

  it('makes the default simulator without a name', async () => {
    const environment = await createSimulator({});
    const expected = await createSimulator({ simulator: defaultSimulator });
    expect(await environment.reset({ seed: 0 })).toEqual(await expected.reset({ seed: 0 }));
    await environment.close();
    await expected.close();
  });

  it('refuses unknown names and settings', async () => {
    await expect(createSimulator({ simulator: 'walker' })).rejects.toThrow("unknown simulator 'walker'");
    await expect(createSimulator({ simulator: 3 })).rejects.toThrow(
      'expected the name of a simulator, got 3',
    );
    await expect(createSimulator({ gravity: 0 })).rejects.toThrow("unknown setting 'gravity'");
  });
});
