import { describe, expect, it } from 'vitest';
import { countingEnvironment } from '../../../test/support/counting-environment.js';
import type { Environment } from '../../environments/environment.js';
import { packTensor, unpackTensor } from '../codec/tensors.js';
import { HostedBatch } from './hosted-batch.js';
import { HostedEnvironment, type HostedWorld } from './hosted-environment.js';

/** An environment whose resets and steps wait until `letGo` is called. */
function held(): Environment & { letGo(): void } {
  const environment = countingEnvironment({ length: 3 });
  let letGo = () => {};
  const wait = () => new Promise<void>((resolve) => (letGo = resolve));
  return {
    ...environment,
    reset: (options) => wait().then(() => environment.reset(options)),
    step: (action) => wait().then(() => environment.step(action)),
    letGo: () => letGo(),
  };
}

const observed = async (answer: ReturnType<HostedWorld['step']>) => {
  const { state, observations } = await answer;
  return [state, Array.from(unpackTensor(observations['1']).data as Float32Array)];
};

describe('a world whose environment fails', () => {
  it('has no open episode; its next step starts one', async () => {
    let isUnstable = true;
    const environment = countingEnvironment({
      reward: (count) => {
        if (isUnstable) throw new Error('unstable');
        return count;
      },
    });
    const world = new HostedEnvironment('w', {}, environment);
    world.reset(4);
    expect(await observed(world.step({}, ['1']))).toEqual([1, [4, 0, 0]]);
    await expect(world.step({}, ['1'])).rejects.toThrow('unstable');
    isUnstable = false;
    expect(await observed(world.step({}, ['1']))).toEqual([1, [-1, 0, 0]]);
    expect(await observed(world.step({}, ['1']))).toEqual([1, [-1, 1, 0]]);
  });

  it('keeps the seed of an episode that could not start', async () => {
    const environment = countingEnvironment();
    let isUnstable = true;
    const world = new HostedEnvironment(
      'w',
      {},
      {
        ...environment,
        reset: async (options) => {
          if (isUnstable) throw new Error('unstable');
          return environment.reset(options);
        },
      },
    );
    world.reset(4);
    await expect(world.step({}, ['1'])).rejects.toThrow('unstable');
    isUnstable = false;
    expect(await observed(world.step({}, ['1']))).toEqual([1, [4, 0, 0]]);
  });
});

describe('a reset that arrives during a step', () => {
  const push = { '1': packTensor({ dtype: 'float32', shape: [1], data: Float32Array.of(1) }) };
  const batchPush = { '1': packTensor({ dtype: 'float32', shape: [1, 1], data: Float32Array.of(1) }) };

  it.each([
    ['a world', (environment: Environment) => new HostedEnvironment('w', {}, environment), push] as const,
    ['a batch', (environment: Environment) => new HostedBatch('w', {}, [environment]), batchPush] as const,
  ])('of %s takes effect after it', async (_, host, actions) => {
    const environment = held();
    const world = host(environment);
    /** A step during which `act` is called. */
    const during = async (act: () => void = () => {}) => {
      const answer = world.step(actions, ['1']);
      act();
      environment.letGo();
      const [, observation] = await observed(answer);
      return observation;
    };
    // While an episode starts, by its agent and by another connection.
    world.reset(1);
    expect(await during(() => world.reset(2))).toEqual([1, 0, 0]);
    expect(await during()).toEqual([2, 0, 0]);
    world.reset(2);
    expect(await during(() => world.interrupt(3))).toEqual([2, 0, 0]);
    expect(await during()).toEqual([2, 0, 0]);
    expect(await during()).toEqual([3, 0, 0]);
    // In an episode, and at its end.
    expect(await during(() => world.reset(4))).toEqual([3, 1, 1]);
    expect(await during()).toEqual([4, 0, 0]);
    await during();
    await during();
    expect(await during(() => world.interrupt(5))).toEqual([4, 3, 3]);
    expect(await during()).toEqual([5, 0, 0]);
  });
});
