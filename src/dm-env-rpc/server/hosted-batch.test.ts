import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type CountingEnvironmentOptions,
  countingEnvironment,
} from '../../../test/support/counting-environment.js';
import type { TensorValue } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { DmEnvRpcConnection } from '../client/connection.js';
import { packSetting } from '../codec/settings.js';
import { packTensor, unpackTensor } from '../codec/tensors.js';
import { type EnvironmentServer, serveEnvironments } from './serve-environments.js';

let server: EnvironmentServer;
let connection: DmEnvRpcConnection;
let closed: number;
/** The options of environments that are made from now on. */
let options: CountingEnvironmentOptions;

beforeEach(async () => {
  closed = 0;
  options = {};
  server = await serveEnvironments({
    createEnvironment: async (settings) => {
      if (settings.seed === 7) throw new Error('not with this seed');
      return countingEnvironment({ ...options, onClose: () => closed++ });
    },
  });
  connection = await DmEnvRpcConnection.open({ address: server.address, deadlineSeconds: 20 });
});
afterEach(async () => {
  connection.close();
  await server.close();
});

const make = (settings: Readonly<Record<string, number>>) =>
  connection.send('createWorld', {
    settings: Object.fromEntries(Object.entries(settings).map(([key, value]) => [key, packSetting(value)])),
  });

/** The world that was joined last. */
let world: string;

/** Joins a batch of N; returns a function that steps it, with tensors by name. */
async function join(size: number, seed?: number) {
  const { worldName } = await make({ batchSize: size });
  world = worldName!;
  const settings: Record<string, wire.Tensor> = seed === undefined ? {} : { seed: packSetting(seed) };
  const { specs } = await connection.send('joinWorld', { worldName, settings });
  const uidOf = (kind: 'actions' | 'observations', name: string) =>
    Object.entries(specs![kind]!).find(([, spec]) => spec.name === name)![0];
  return async (actions: Readonly<Record<string, TensorValue>>, ...observations: string[]) => {
    const request: NonNullable<wire.EnvironmentRequest['step']> = {
      actions: Object.fromEntries(
        Object.entries(actions).map(([name, value]) => [uidOf('actions', name), packTensor(value)]),
      ),
      requestedObservations: observations.map((name) => uidOf('observations', name)),
    };
    const { state, observations: found = {} } = await connection.send('step', request);
    const values = observations.map((name) => {
      const { shape, data } = unpackTensor(found[uidOf('observations', name)]);
      return { shape, data: Array.from(data as ArrayLike<unknown>) };
    });
    return { state, values: values.map(({ data }) => data), shapes: values.map(({ shape }) => shape) };
  };
}

const commands = (...data: number[]): Record<string, TensorValue> => ({
  'batch/command': { dtype: 'int32', shape: [data.length], data: Int32Array.from(data) },
});
const seeds = (...data: number[]): Record<string, TensorValue> => ({
  'batch/seed': { dtype: 'int64', shape: [data.length], data: BigInt64Array.from(data, BigInt) },
});
const pushes = (...data: number[]): Record<string, TensorValue> => ({
  push: { dtype: 'float32', shape: [data.length, 1], data: Float32Array.from(data) },
});

describe('a world of several environments', () => {
  it('steps all of them by default, and starts their episodes', async () => {
    options = { length: 2, end: 'terminated' };
    const step = await join(2, 40);
    // Seeds count up from that of the world. The actions of the first step are ignored.
    const first = await step(pushes(5, 5), 'state', 'reward', 'batch/state');
    expect(first).toEqual({
      state: 1,
      values: [
        [40, 0, 0, 41, 0, 0],
        [0, 0],
        [1, 1],
      ],
      shapes: [[2, 3], [2], [2]],
    });
    expect((await step(pushes(1, -1), 'state')).values).toEqual([[40, 1, 1, 41, 1, -1]]);
    const ended = await step({}, 'reward', 'discount', 'batch/state');
    expect(ended).toMatchObject({
      state: 1,
      values: [
        [2, 2],
        [0, 0],
        [2, 2],
      ],
    });
    expect((await step({}, 'state', 'discount')).values).toEqual([
      [-1, 0, 0, -1, 0, 0],
      [1, 1],
    ]);
  });

  it('steps, resets or leaves alone each of them, as commanded', async () => {
    const step = await join(3);
    await step({ ...commands(1, 1, 2), ...seeds(3, -1, 9) });
    const { values } = await step({ ...commands(0, 2, 1), ...pushes(1, 1, 1) }, 'state', 'batch/state');
    expect(values).toEqual([
      [3, 1, 1, -1, 0, 0, -1, 0, 0],
      [1, 1, 1],
    ]);
  });

  it('has no open episodes after a reset of the world', async () => {
    const step = await join(2);
    await step({});
    await connection.send('reset', { settings: { seed: packSetting(4) } });
    expect((await step(commands(2, 2), 'batch/state')).values).toEqual([[0, 0]]);
    expect((await step(commands(2, 1), 'state', 'batch/state')).values).toEqual([
      [-1, 0, 0, 5, 0, 0],
      [0, 1],
    ]);
  });

  it('reports each open episode as interrupted after a reset by another connection', async () => {
    const step = await join(4);
    const said = ['batch/state', 'reward', 'state'];
    await step(commands(1, 1, 1, 2));
    await step(commands(0, 0, 0, 2), ...said);
    const other = await DmEnvRpcConnection.open({ address: server.address, deadlineSeconds: 20 });
    await other.send('resetWorld', { worldName: world, settings: { seed: packSetting(40) } });
    other.close();
    // The second waits and learns of it later; the third starts an episode itself; the fourth has no open episode.
    expect((await step(commands(0, 2, 1, 0), ...said)).values).toEqual([
      [3, 1, 1, 1],
      [0, 1, 0, 0],
      [-1, 1, 0, -1, 1, 0, 42, 0, 0, 43, 0, 0],
    ]);
    expect((await step(commands(0, 0, 0, 0), ...said)).values).toEqual([
      [1, 3, 1, 1],
      [0, 0, 1, 1],
      [40, 0, 0, -1, 1, 0, 42, 1, 0, 43, 1, 0],
    ]);
    expect((await step(commands(2, 0, 2, 2), ...said)).values).toEqual([
      [1, 1, 1, 1],
      [0, 0, 1, 1],
      [40, 0, 0, 41, 0, 0, 42, 1, 0, 43, 1, 0],
    ]);
  });

  it('names the simulator whose action is wrong, and steps none', async () => {
    const step = await join(2);
    await step(commands(1, 1));
    await expect(step(pushes(0, 3))).rejects.toThrow(
      /simulator 1: action 'push': element 0 is 3, above its maximum 1/,
    );
    await expect(step(pushes(Number.NaN, 0))).rejects.toThrow(/simulator 0: action 'push': element 0 is NaN/);
    await expect(step(pushes(0, 0, 0))).rejects.toThrow(
      /it is float32 \[3,1\], but its spec is float32 \[2,1\]/,
    );
    await expect(step(commands(0, 3))).rejects.toThrow(
      /simulator 1: action 'batch\/command': element 0 is 3/,
    );
    await expect(step(seeds(-2, 0))).rejects.toThrow(/simulator 0: action 'batch\/seed': element 0 is -2/);
    expect((await step(commands(2, 2), 'state')).values).toEqual([[-1, 0, 0, -1, 0, 0]]);
  });

  it('reports a failed simulator until the next command for it', async () => {
    options = {
      reward: (count) => {
        if (count === 1) throw new Error('unstable');
        return count;
      },
    };
    const step = await join(2);
    await step({});
    const said = ['batch/state', 'batch/errorCode', 'batch/error'];
    const failed = [
      [0, 1],
      [13, 0],
      [`simulator 0: ${world}, episode 1, step 1: unstable`, ''],
    ];
    expect((await step(commands(0, 2), ...said)).values).toEqual(failed);
    expect((await step(commands(2, 2), ...said)).values).toEqual(failed);
    expect((await step(commands(0, 2), ...said)).values).toEqual([
      [1, 1],
      [0, 0],
      ['', ''],
    ]);
  });

  it('is created completely or not at all, within the size limit, and closed completely', async () => {
    for (const batchSize of [0, -1, 1.5, 5000]) {
      await expect(make({ batchSize })).rejects.toThrow(/batchSize must be a whole number from 1 to 1024/);
    }
    await expect(make({ batchSize: 3, seed: 5 })).rejects.toThrow(/not with this seed/);
    expect(closed).toBe(2);
    const { worldName } = await make({ batchSize: 3 });
    await connection.send('destroyWorld', { worldName });
    expect(closed).toBe(5);
    let shape = 2;
    options = {
      get specs() {
        return { state: { name: 'state', shape: [shape++], dtype: 'float32' as const } };
      },
    };
    await expect(make({ batchSize: 2 })).rejects.toThrow(
      /the specs of simulator 1 differ from those of simulator 0/,
    );
    expect(closed).toBe(7);
  });
});
