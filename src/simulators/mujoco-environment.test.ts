import { afterEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../core/errors.js';
import type { Environment, NamedTensorValues } from '../environments/environment.js';
import { simulators } from './registry.js';

const open: Environment[] = [];
async function create(settings: Record<string, unknown> = {}): Promise<Environment> {
  const environment = await simulators.get('cartpole_swingup').create(settings);
  open.push(environment);
  return environment;
}

const push = (...data: number[]): NamedTensorValues => ({
  action: { dtype: 'float32', shape: [data.length], data: Float32Array.from(data) },
});

describe('a MuJoCo environment', () => {
  afterEach(async () => {
    for (const environment of open.splice(0)) await environment.close();
  });

  it('has observations and actions that fit its specs', async () => {
    const environment = await create();
    expect(environment.actionSpec).toEqual({
      action: { name: 'action', shape: [1], dtype: 'float32', minimum: [-1], maximum: [1] },
    });
    const { observation } = await environment.reset({ seed: 0 });
    for (const [name, { dtype, shape }] of Object.entries(environment.observationSpec)) {
      expect(observation[name]).toMatchObject({ dtype, shape });
      expect(observation[name].data.length).toBe(shape[0]);
    }
    expect(Object.keys(observation)).toEqual(Object.keys(environment.observationSpec));
  });

  it('returns observations that later steps do not change', async () => {
    const environment = await create();
    const { observation } = await environment.reset({ seed: 0 });
    const before = [...(observation.velocity.data as Float32Array)];
    await environment.step(push(1));
    expect([...(observation.velocity.data as Float32Array)]).toEqual(before);
  });

  it('truncates at the end, and refuses to step before a reset and after the end', async () => {
    const environment = await create({ episodeSteps: 2 });
    await expect(environment.step(push(0))).rejects.toThrow(
      'cartpole_swingup: no episode is open. Reset it first',
    );
    await environment.reset();
    expect(await environment.step(push(0))).toMatchObject({ terminated: false, truncated: false });
    expect(await environment.step(push(0))).toMatchObject({ terminated: false, truncated: true });
    await expect(environment.step(push(0))).rejects.toThrow('no episode is open');
    await environment.reset();
    expect(await environment.step(push(0))).toMatchObject({ truncated: false });
  });

  it('refuses actions outside the spec, and remains usable', async () => {
    const environment = await create();
    await environment.reset({ seed: 0 });
    const wrong: [NamedTensorValues, string][] = [
      [{}, 'no actions'],
      [push(0, 0), 'expected float32 of shape [1], got float32 of shape [2]'],
      [{ action: { dtype: 'int32', shape: [1], data: Int32Array.of(1) } }, 'got int32'],
      [push(1.5), 'element 0 is 1.5, outside [-1, 1]'],
      [push(Number.NaN), 'element 0 is NaN'],
    ];
    for (const [action, message] of wrong) await expect(environment.step(action)).rejects.toThrow(message);
    expect(Number.isFinite((await environment.step(push(1))).reward)).toBe(true);
  });

  it('holds an action for actionRepeat control steps and adds up their rewards', async () => {
    const single = await create();
    const repeated = await create({ actionRepeat: 4, episodeSteps: 8 });
    await single.reset({ seed: 1 });
    await repeated.reset({ seed: 1 });
    let [sum, last] = [0, await single.step(push(0.5))];
    sum += last.reward;
    for (let i = 1; i < 4; i++) {
      last = await single.step(push(0.5));
      sum += last.reward;
    }
    const held = await repeated.step(push(0.5));
    expect(held.reward).toBe(sum);
    expect(held.observation).toEqual(last.observation);
    expect(held.truncated).toBe(false);
    expect((await repeated.step(push(0.5))).truncated).toBe(true);
  });

  it('draws episodes without a seed from its own seed', async () => {
    const [a, b, c] = [await create({ seed: 3 }), await create({ seed: 3 }), await create({ seed: 4 })];
    const first = await a.reset();
    expect(await b.reset()).toEqual(first);
    expect(await a.reset()).not.toEqual(first);
    expect(await c.reset()).not.toEqual(first);
    const [d, e] = [await create(), await create()];
    expect(await d.reset()).not.toEqual(await e.reset());
  });

  it('explains wrong settings', async () => {
    const cases: [Record<string, unknown>, string][] = [
      [{ episodeStep: 10 }, "unknown setting 'episodeStep'. Did you mean 'episodeSteps'?"],
      [{ episodeSteps: 0 }, 'cartpole_swingup: episodeSteps: '],
      [
        { episodeSteps: 10, actionRepeat: 3 },
        'episodeSteps is 10, which is not a multiple of actionRepeat, 3',
      ],
      [{ seed: 'x' }, 'cartpole_swingup: seed: '],
    ];
    for (const [settings, message] of cases) {
      const refusal = create(settings);
      await expect(refusal).rejects.toThrow(message);
      await expect(refusal).rejects.toBeInstanceOf(ConfigError);
    }
    expect(() => simulators.get('cartpole_swing_up')).toThrow("Did you mean 'cartpole_swingup'?");
  });
});
