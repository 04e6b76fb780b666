import { afterEach, describe, expect, it } from 'vitest';
import { type CountingWorldOptions, countingWorld } from '../../test/support/counting-world.js';
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
  const worlds = await createVectorEnvironment({
    connect,
    numEnvs: 2,
    episodeSeed: (world, episode) => 100 * world + episode,
    reconnect: quick,
    notice: () => {},
    ...more,
  });
  cleanups.push(() => worlds.close());
  return worlds;
}

const local = (options: CountingWorldOptions = {}) => make(async () => countingWorld(options));
const still = new Float32Array(2);

describe('worlds stepped together', () => {
  it('give batches, and begin again at once where an episode ends', async () => {
    const worlds = await local({ length: 2 });
    expect(worlds).toMatchObject({ numEnvs: 2, observationSize: 3, actionSize: 1 });
    expect([...(await worlds.reset())]).toEqual([0, 0, 0, 100, 0, 0]);
    const one = await worlds.step(Float32Array.of(0.5, -1));
    expect([...one.observations]).toEqual([0, 1, 0.5, 100, 1, -1]);
    expect(one.finalObservations).toEqual(one.observations);
    const two = await worlds.step(still);
    expect([...two.truncated]).toEqual([1, 1]);
    expect([...two.rewards]).toEqual([2, 2]);
    expect([...two.finalObservations]).toEqual([0, 2, 0.5, 100, 2, -1]);
    expect([...two.observations]).toEqual([1, 0, 0, 101, 0, 0]);
    expect(one.observations[1]).toBe(1);
  });

  it('come back to where they stood, bit for bit, on a simulator', async () => {
    const connect = () => createSimulator({ simulator: 'walker_run' });
    const [worlds, again] = [await make(connect), await make(connect)];
    await worlds.reset();
    const actions = (t: number) => Float32Array.from({ length: 12 }, (_, i) => Math.sin(t * 7 + i));
    for (let t = 0; t < 20; t++) await worlds.step(actions(t));
    const back = await again.restore(worlds.state());
    const [a, b] = [await worlds.step(actions(20)), await again.step(actions(20))];
    expect(b).toEqual(a);
    expect(back.length).toBe(2 * worlds.observationSize);
    expect(again.state()).toEqual(worlds.state());
  });

  it.each<[string, CountingWorldOptions, RegExp]>([
    [
      'NaN observed',
      { observe: (n) => (n === 2 ? Number.NaN : n) },
      /world \d, episode 0, step 2: observation 'state'\[1\] is NaN/,
    ],
    ['infinity observed', { observe: (n) => n / 0 }, /observation 'state'\[1\] is (NaN|Infinity)/],
    ['NaN for a reward', { reward: () => Number.NaN }, /world \d, episode 0, step 1: the reward is NaN/],
  ])('stop at %s, and say where', async (_what, options, message) => {
    const worlds = await local(options);
    const going = (async () => {
      await worlds.reset();
      for (let t = 0; t < 4; t++) await worlds.step(still);
    })();
    await expect(going).rejects.toThrow(message);
  });

  it('must be of one kind', async () => {
    let made = 0;
    const connect = async () =>
      countingWorld(
        made++ === 0 ? {} : { specs: { state: { name: 'state', shape: [4], dtype: 'float32' } } },
      );
    await expect(make(connect)).rejects.toThrow(/world 1: its specs .* differ/);
  });
});

describe('a server that dies in mid-episode', () => {
  const remote = (address: string) => () => RemoteEnvironment.connect({ address, deadlineSeconds: 5 });
  const serve = (port = 0) =>
    serveEnvironments({ createEnvironment: async () => countingWorld({ length: 50 }), port });

  it('and comes back costs the step under way, and no other', async () => {
    const notices: string[] = [];
    const first = await serve();
    const worlds = await make(remote(first.address), {
      notice: (message) => notices.push(message),
      reconnect: { ...quick, attempts: 50 },
    });
    await worlds.reset();
    await worlds.step(still);
    await first.close();
    const stepping = worlds.step(still);
    const second = await serve(first.port);
    cleanups.push(() => second.close());
    const step = await stepping;
    expect([...step.lost]).toEqual([1, 1]);
    expect([...step.observations]).toEqual([1, 0, 0, 101, 0, 0]);
    expect(notices.some((notice) => notice.includes('connected again'))).toBe(true);
    const next = await worlds.step(still);
    expect([...next.lost]).toEqual([0, 0]);
    expect([...next.rewards]).toEqual([1, 1]);
    expect(worlds.state().map(({ episode }) => episode)).toEqual([1, 1]);
  });

  it('leaves the steps of other worlds as they are', async () => {
    const dying = await serve();
    const living = await serve();
    cleanups.push(() => living.close());
    let open = true;
    const worlds = await make((world) => remote(world === 0 && open ? dying.address : living.address)());
    await worlds.reset();
    await dying.close();
    open = false;
    const step = await worlds.step(still);
    expect([...step.lost]).toEqual([1, 0]);
    expect(step.rewards[1]).toBe(1);
  });

  it('and stays away ends in an error after the last attempt', async () => {
    const server = await serve();
    const worlds = await make(remote(server.address), {
      reconnect: { attempts: 2, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
    });
    await worlds.reset();
    await server.close();
    const failed = worlds.step(still);
    await expect(failed).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(failed).rejects.toThrow(/2 attempts to reconnect failed/);
  });
});
