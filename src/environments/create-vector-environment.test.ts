import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type CountingEnvironmentOptions,
  countingEnvironment,
} from '../../test/support/counting-environment.js';
import { ConnectionLostError, RequestFailedError } from '../core/errors.js';
import { RemoteEnvironment } from '../dm-env-rpc/client/remote-environment.js';
import { serveEnvironments } from '../dm-env-rpc/server/serve-environments.js';
import { createSimulator } from '../simulators/registry.js';
import { createVectorEnvironment, type VectorEnvironmentOptions } from './create-vector-environment.js';
import type { VectorEnvironment } from './vector-environment.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const quick = { attempts: 5, initialDelaySeconds: 0.01, maxDelaySeconds: 0.05 };

async function make(
  connect: VectorEnvironmentOptions['connect'],
  more: Partial<VectorEnvironmentOptions> = {},
): Promise<VectorEnvironment> {
  const vector = await createVectorEnvironment({
    connect,
    numEnvs: 2,
    episodeSeed: (k, episode) => 100 * k + episode,
    reconnect: quick,
    notice: () => {},
    ...more,
  });
  cleanups.push(() => vector.close());
  return vector;
}

const local = (options: CountingEnvironmentOptions = {}) => make(async () => countingEnvironment(options));
const still = new Float32Array(2);

describe('environments stepped together', () => {
  it('give batches, and start again as soon as an episode ends', async () => {
    const vector = await local({ length: 2 });
    expect(vector).toMatchObject({ numEnvs: 2, observationSize: 3, actionSize: 1 });
    expect([...(await vector.reset()).observations]).toEqual([0, 0, 0, 100, 0, 0]);
    const one = await vector.step(Float32Array.of(0.5, -1));
    expect([...one.currentObservations]).toEqual([0, 1, 0.5, 100, 1, -1]);
    expect(one.nextObservations).toEqual(one.currentObservations);
    const two = await vector.step(still);
    expect([...two.truncated]).toEqual([1, 1]);
    expect([...two.rewards]).toEqual([2, 2]);
    expect([...two.nextObservations]).toEqual([0, 2, 0.5, 100, 2, -1]);
    expect([...two.currentObservations]).toEqual([1, 0, 0, 101, 0, 0]);
    expect(one.currentObservations[1]).toBe(1);
  });

  it('hold each action for some steps, which end with the episode', async () => {
    const connect = async () => countingEnvironment({ length: 5, discount: (count) => 1 / count });
    const [vector, again] = [
      await make(connect, { actionRepeat: 3 }),
      await make(connect, { actionRepeat: 3 }),
    ];
    expect(vector.actionRepeat).toBe(3);
    await vector.reset();
    const one = await vector.step(Float32Array.of(0.5, -1));
    expect([...one.nextObservations]).toEqual([0, 3, 1.5, 100, 3, -3]);
    expect([...one.rewards]).toEqual([6, 6]);
    expect(one.discounts[0]).toBeCloseTo(1 / 6, 12);
    expect([...one.simulatorSteps]).toEqual([3, 3]);
    expect([...(await again.restore(vector.state()))]).toEqual([...one.currentObservations]);
    const two = await vector.step(still);
    expect(await again.step(still)).toEqual(two);
    expect([...two.rewards]).toEqual([9, 9]);
    expect([...two.simulatorSteps]).toEqual([2, 2]);
    expect([...two.truncated]).toEqual([1, 1]);
    expect([...two.currentObservations]).toEqual([1, 0, 0, 101, 0, 0]);
  });

  it('cut an episode at a limit of simulator steps, and say so once', async () => {
    const notices: string[] = [];
    const vector = await make(async () => countingEnvironment({ length: 1000 }), {
      numEnvs: 1,
      maxEpisodeSteps: 4,
      notice: (message) => notices.push(message),
    });
    await vector.reset();
    const ends: number[] = [];
    for (let t = 0; t < 12; t++) ends.push((await vector.step(new Float32Array(1))).truncated[0]);
    expect(ends).toEqual([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    expect(notices).toEqual([expect.stringMatching(/^environment 0, episode 0, step 4: .* is cut here/)]);
  });

  it('give rewards with the precision of a float64, and the discounts of the environment or those of the end', async () => {
    const plain = await local({ length: 1, end: 'terminated', reward: () => 0.1 });
    await plain.reset();
    const step = await plain.step(still);
    expect([...step.rewards]).toEqual([0.1, 0.1]);
    expect([...step.discounts]).toEqual([0, 0]);
    const sent = await local({ length: 1, end: 'terminated', discount: () => 0.1 });
    await sent.reset();
    expect([...(await sent.step(still)).discounts]).toEqual([0.1, 0.1]);
  });

  it('pass over episodes that are over at their reset, and count them', async () => {
    // Environment 0 begins with two empty episodes, environment 1 has one after its first episode.
    const empty = new Set([0, 1, 101]);
    const vector = await local({ length: 1, isEmpty: (seed) => empty.has(seed) });
    const { observations, emptyEpisodes } = await vector.reset();
    expect([...emptyEpisodes]).toEqual([2, 0]);
    expect([...observations]).toEqual([2, 0, 0, 100, 0, 0]);
    const step = await vector.step(still);
    expect([...step.emptyEpisodes]).toEqual([0, 1]);
    expect([...step.nextObservations]).toEqual([2, 1, 0, 100, 1, 0]);
    expect([...step.currentObservations]).toEqual([3, 0, 0, 102, 0, 0]);
    expect(vector.state().map(({ episode, seed }) => [episode, seed])).toEqual([
      [3, 3],
      [2, 102],
    ]);
    await expect((await local({ isEmpty: () => true })).reset()).rejects.toThrow(
      /1000 episodes in a row were over at their reset/,
    );
  });

  it('tell the open episodes without the last step, also where it ended one', async () => {
    const vector = await local({ length: 2 });
    await vector.reset();
    const first = await vector.step(Float32Array.of(0.5, -0.5));
    const episode = (k: number, ...actions: number[]) => ({
      episode: 0,
      seed: 100 * k,
      actions: Float32Array.from(actions),
    });
    expect(vector.state(first)).toEqual([episode(0), episode(1)]);
    const last = await vector.step(Float32Array.of(0.25, -0.25));
    expect(vector.state(last)).toEqual([episode(0, 0.5), episode(1, -0.5)]);
    expect(vector.state().map(({ episode: number, actions }) => [number, actions.length])).toEqual([
      [1, 0],
      [1, 0],
    ]);
  });

  it('are restored bit for bit, with a simulator', async () => {
    const connect = () => createSimulator({ simulator: 'walker_run' });
    const [vector, again] = [await make(connect), await make(connect)];
    await vector.reset();
    const actions = (t: number) => Float32Array.from({ length: 12 }, (_, i) => Math.sin(t * 7 + i));
    for (let t = 0; t < 20; t++) await vector.step(actions(t));
    const back = await again.restore(vector.state());
    const [a, b] = [await vector.step(actions(20)), await again.step(actions(20))];
    expect(b).toEqual(a);
    expect(back.length).toBe(2 * vector.observationSize);
    expect(again.state()).toEqual(vector.state());
  });

  it.each<[string, CountingEnvironmentOptions, RegExp]>([
    [
      'a NaN observation',
      { observe: (n) => (n === 2 ? Number.NaN : n) },
      /environment \d, episode 0, step 2: observation 'state'\[1\] is NaN/,
    ],
    ['an infinite observation', { observe: (n) => n / 0 }, /observation 'state'\[1\] is (NaN|Infinity)/],
    ['a NaN reward', { reward: () => Number.NaN }, /environment \d, episode 0, step 1: the reward is NaN/],
    ['a reward beyond float32', { reward: () => 1e39 }, /step 1: the reward is 1e\+39/],
    ['a discount above 1', { discount: (n) => n / 2 }, /step 3: the discount is 1.5, which is not between 0/],
    ['a NaN discount', { discount: () => Number.NaN }, /step 1: the discount is NaN/],
  ])('stop at %s, with an error that names the place', async (_what, options, message) => {
    const vector = await local(options);
    const going = (async () => {
      await vector.reset();
      for (let t = 0; t < 4; t++) await vector.step(still);
    })();
    await expect(going).rejects.toThrow(message);
  });

  it('leave nothing on the signal of their caller once they are closed, or cannot be made', async () => {
    const { signal } = new AbortController();
    const vector = await make(async () => countingEnvironment(), { signal });
    expect(getEventListeners(signal, 'abort').length).toBeGreaterThan(0);
    await vector.close();
    const refused = async () => {
      throw new Error('no');
    };
    await expect(make(refused, { signal })).rejects.toThrow('no');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('must have the same specs', async () => {
    let made = 0;
    const connect = async () =>
      countingEnvironment(
        made++ === 0 ? {} : { specs: { state: { name: 'state', shape: [4], dtype: 'float32' } } },
      );
    await expect(make(connect)).rejects.toThrow(
      /environment 1: its specs differ .*: its observation 'state' has the shape \[4\], not \[3\]\. All/,
    );
  });
});

describe('a simulator that fails', () => {
  const failure = (text: string) => new RequestFailedError({ where: 'simulator', what: text });

  it('loses its episode at the last whole step, is said and counted, and goes on with another', async () => {
    const notices: string[] = [];
    const fail = (seed: number, count: number) =>
      (seed === 0 && count === 3) || (seed === 1 && count === 0) ? failure('physics exploded') : undefined;
    const vector = await make(async () => countingEnvironment({ length: 50, fail }), {
      notice: (message) => notices.push(message),
    });
    await vector.reset();
    for (let t = 0; t < 2; t++) await vector.step(still);
    const step = await vector.step(still);
    expect([...step.lost]).toEqual([1, 0]);
    // The episode after it fails at its reset.
    expect([...step.failures]).toEqual([2, 0]);
    expect([...step.currentObservations.subarray(0, 3)]).toEqual([2, 0, 0]);
    expect(vector.state()[0]).toEqual({ episode: 2, seed: 2, actions: new Float32Array() });
    expect(notices[0]).toMatch(
      /^environment 0, episode 0, step 2: the simulator failed: simulator: physics exploded\. The episode ends/,
    );
    expect(notices).toHaveLength(2);
    expect([...(await vector.step(still)).lost]).toEqual([0, 0]);
  });

  it('at each try is an error that names the place', async () => {
    const vector = await local({ fail: (_, count) => (count === 2 ? failure('no licence') : undefined) });
    await vector.reset();
    const going = (async () => {
      for (let t = 0; t < 100; t++) await vector.step(still);
    })();
    await expect(going).rejects.toBeInstanceOf(RequestFailedError);
    await expect(going).rejects.toThrow(
      /^environment \d, episode 9, step 1: the simulator has failed in 10 episodes in a row: simulator: no licence/,
    );
  });

  it('once in each long episode does not end the run', async () => {
    const vector = await local({
      fail: (_, count) => (count === 150 ? failure('wear') : undefined),
      length: 200,
    });
    await vector.reset();
    let failures = 0;
    for (let t = 0; t < 150 * 12; t++) failures += (await vector.step(still)).failures[0];
    expect(failures).toBe(12);
  });
});

describe('a server that dies during an episode', () => {
  const remote = (address: string) => () => RemoteEnvironment.connect({ address, deadlineSeconds: 5 });
  const serve = (port = 0) =>
    serveEnvironments({ createEnvironment: async () => countingEnvironment({ length: 50 }), port });

  it('and comes back costs only the step in progress', async () => {
    const notices: string[] = [];
    const first = await serve();
    const vector = await make(remote(first.address), {
      notice: (message) => notices.push(message),
      reconnect: { ...quick, attempts: 50 },
    });
    await vector.reset();
    await vector.step(still);
    await first.close();
    const stepping = vector.step(still);
    const second = await serve(first.port);
    cleanups.push(() => second.close());
    const step = await stepping;
    expect([...step.lost]).toEqual([1, 1]);
    expect([...step.currentObservations]).toEqual([1, 0, 0, 101, 0, 0]);
    await expect.poll(() => notices.some((notice) => notice.includes('connected again'))).toBe(true);
    const next = await vector.step(still);
    expect([...next.lost]).toEqual([0, 0]);
    expect([...next.rewards]).toEqual([1, 1]);
    expect(vector.state().map(({ episode }) => episode)).toEqual([1, 1]);
  });

  it('does not affect the steps of other environments', async () => {
    const dying = await serve();
    const living = await serve();
    cleanups.push(() => living.close());
    let open = true;
    const vector = await make((k) => remote(k === 0 && open ? dying.address : living.address)());
    await vector.reset();
    await dying.close();
    open = false;
    const step = await vector.step(still);
    expect([...step.lost]).toEqual([1, 0]);
    expect(step.rewards[1]).toBe(1);
  });

  it('and does not come back is an error after the last attempt', async () => {
    const server = await serve();
    const vector = await make(remote(server.address), {
      reconnect: { attempts: 2, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
    });
    await vector.reset();
    await server.close();
    const failed = vector.step(still);
    await expect(failed).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(failed).rejects.toThrow(/2 attempts to reconnect failed/);
  });
});
