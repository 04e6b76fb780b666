import { afterEach, describe, expect, it } from 'vitest';
import {
  type CountingEnvironmentOptions,
  countingEnvironment,
} from '../../test/support/counting-environment.js';
import { ConnectionLostError } from '../core/errors.js';
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
  ])('stop at %s, with an error that names the place', async (_what, options, message) => {
    const vector = await local(options);
    const going = (async () => {
      await vector.reset();
      for (let t = 0; t < 4; t++) await vector.step(still);
    })();
    await expect(going).rejects.toThrow(message);
  });

  it('must have the same specs', async () => {
    let made = 0;
    const connect = async () =>
      countingEnvironment(
        made++ === 0 ? {} : { specs: { state: { name: 'state', shape: [4], dtype: 'float32' } } },
      );
    await expect(make(connect)).rejects.toThrow(/environment 1: its observation or action specs differ/);
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
    expect(notices.some((notice) => notice.includes('connected again'))).toBe(true);
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
