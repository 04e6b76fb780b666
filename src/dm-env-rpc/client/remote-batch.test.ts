import { afterEach, describe, expect, it, vi } from 'vitest';
import { type BatchServer, recordCommands, serveBatches } from '../../../test/support/batch-server.js';
import {
  type CountingEnvironmentOptions,
  countingEnvironment,
} from '../../../test/support/counting-environment.js';
import { scriptedServer } from '../../../test/support/scripted-server.js';
import { ConnectionLostError } from '../../core/errors.js';
import type { Environment, NamedTensorValues, TensorSpec } from '../../environments/environment.js';
import { DmEnvRpcError } from '../errors.js';
import { DmEnvRpcConnection } from './connection.js';
import { RemoteBatch } from './remote-batch.js';
import type { RemoteEnvironmentOptions } from './remote-environment.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const push = (value: number): NamedTensorValues => ({
  push: { dtype: 'float32', shape: [1], data: Float32Array.of(value) },
});
const state = ({ observation }: { observation: NamedTensorValues }) => [
  ...(observation.state.data as Float32Array),
];

async function serve(
  size: number,
  options: (i: number) => CountingEnvironmentOptions = () => ({}),
): Promise<BatchServer> {
  const server = await serveBatches((i) => countingEnvironment(options(i)), { size });
  cleanups.push(() => server.close());
  return server;
}

async function batchOf(
  address: string,
  size: number,
  more: Partial<RemoteEnvironmentOptions> = {},
): Promise<readonly Environment[]> {
  const batch = await RemoteBatch.connect({ address, deadlineSeconds: 20, ...more }, size);
  cleanups.push(() => batch.close());
  return Array.from({ length: size }, (_, i) => batch.environment(i, async () => {}));
}

describe('the environments of a remote batch', () => {
  it('behave as each would alone', async () => {
    const server = await serve(2, (i) => ({ length: 2 + i, end: 'terminated' }));
    const [a, b] = await batchOf(server.address, 2);
    expect(a.observationSpec).toEqual({ state: { name: 'state', shape: [3], dtype: 'float32' } });
    expect(a.actionSpec.push).toMatchObject({ shape: [1], minimum: -1, maximum: 1 });
    await expect(a.step(push(0))).rejects.toThrow(/simulator 0: step called before the first reset/);
    expect(state(await a.reset({ seed: 7 }))).toEqual([7, 0, 0]);
    expect(state(await b.reset())).toEqual([-1, 0, 0]);
    expect(state(await a.step(push(0.5)))).toEqual([7, 1, 0.5]);
    expect(await a.step(push(0.25))).toMatchObject({ reward: 2, terminated: true, truncated: false });
    await expect(a.step(push(0))).rejects.toThrow(/simulator 0: step called after the episode ended/);
    expect(state(await b.step(push(-1)))).toEqual([-1, 1, -1]);
    expect(state(await a.reset({ seed: 8 }))).toEqual([8, 0, 0]);
  });

  it('share a message if they are called in the same turn, for steps and resets alike', async () => {
    const sent = recordCommands();
    const server = await serve(3);
    const [a, b, c] = await batchOf(server.address, 3);
    await Promise.all([a.reset({ seed: 1 }), b.reset({ seed: 2 }), c.reset({ seed: 3 })]);
    await Promise.all([a.step(push(1)), b.reset()]);
    // Calls before the response to a message go with the next one.
    const first = a.step(push(0));
    await new Promise((go) => setImmediate(go));
    const [one, two, three] = await Promise.all([first, b.step(push(1)), c.step(push(-1))]);
    expect(sent).toEqual([
      [1, 1, 1],
      [0, 1, 2],
      [0, 2, 2],
      [2, 0, 0],
    ]);
    expect([one, two, three].map(state)).toEqual([
      [1, 2, 1],
      [-1, 1, 1],
      [3, 1, -1],
    ]);
  });

  it('keep an observation until their own next call when arrays are reused', async () => {
    const server = await serve(2);
    const [a, b] = await batchOf(server.address, 2, { reuseArrays: true });
    const [first] = await Promise.all([a.reset({ seed: 1 }), b.reset({ seed: 2 })]);
    for (let t = 0; t < 3; t++) await b.step(push(1));
    expect(state(first)).toEqual([1, 0, 0]);
    const second = await a.step(push(1));
    expect(second.observation.state).toBe(first.observation.state);
    expect(state(first)).toEqual([1, 1, 1]);
  });

  it('refuse invalid actions before sending them, and a second call before the first has returned', async () => {
    const sent = recordCommands();
    const server = await serve(2);
    const [a, b] = await batchOf(server.address, 2);
    await Promise.all([a.reset(), b.reset()]);
    const other = b.step(push(1));
    await expect(a.step(push(2))).rejects.toThrow(/action 'push': element 0 is 2, above its maximum 1/);
    await expect(a.step({ pull: push(0).push })).rejects.toThrow(/unknown action 'pull'/);
    await expect(a.reset({ seed: -1 })).rejects.toThrow(/simulator 0: the seed is -1/);
    await expect(b.step(push(1))).rejects.toThrow(
      /simulator 1: step or reset called before the last call had returned/,
    );
    expect(state(await other)).toEqual([-1, 1, 1]);
    expect(sent).toEqual([
      [1, 1],
      [2, 0],
    ]);
  });

  it('have separate bounds, and take the action nearest to 0 when it is left out', async () => {
    const spec: TensorSpec = { name: 'push', shape: [2], dtype: 'int64', minimum: [1, -3], maximum: [4, 3] };
    const done: string[] = [];
    const server = await serveBatches(
      (i) => {
        const world = countingEnvironment();
        const step: Environment['step'] = (action) => {
          done.push(`${i}: ${action.push.data}`);
          return world.step(push(0));
        };
        return { ...world, actionSpec: { push: spec }, step };
      },
      { size: 2 },
    );
    cleanups.push(() => server.close());
    const [a, b] = await batchOf(server.address, 2, { observations: ['state'] });
    expect([a.actionSpec, b.actionSpec]).toEqual([{ push: spec }, { push: spec }]);
    await Promise.all([a.reset(), b.reset()]);
    const both = { push: { dtype: 'int64' as const, shape: [2], data: BigInt64Array.of(4n, -2n) } };
    await Promise.all([a.step({}), b.step(both)]);
    expect(done).toEqual(['0: 1,0', '1: 4,-2']);
  });
});

describe('a failing simulator', () => {
  it('does not affect the others, passes on its message, and recovers with a reset', async () => {
    const broken = (): number => {
      throw new Error('the simulation became unstable');
    };
    const server = await serve(3, (i) => (i === 1 ? { reward: (n) => (n === 2 ? broken() : n) } : {}));
    const all = await batchOf(server.address, 3);
    await Promise.all(all.map((one) => one.reset({ seed: 5 })));
    await Promise.all(all.map((one) => one.step(push(1))));
    const [first, failed, third] = await Promise.allSettled(all.map((one) => one.step(push(1))));
    expect(failed).toMatchObject({ status: 'rejected', reason: { code: 13 } });
    const { reason } = failed as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(DmEnvRpcError);
    expect(reason.message).toMatch(
      /the server refused Step: INTERNAL: simulator 1: .*the simulation became unstable$/,
    );
    for (const other of [first, third])
      expect(other).toMatchObject({ status: 'fulfilled', value: { reward: 2 } });
    await expect(all[1].step(push(0))).rejects.toThrow(/after the episode ended/);
    expect(state(await all[1].reset({ seed: 6 }))).toEqual([6, 0, 0]);
    expect((await all[0].step(push(0))).reward).toBe(3);
  });
});

describe('a server', () => {
  it('that refuses a step fails only the calls in that message', async () => {
    const server = await serve(3);
    const [a, b, c] = await batchOf(server.address, 3);
    const refusal = new DmEnvRpcError(server.address, 'Step', 3, 'not today');
    vi.spyOn(DmEnvRpcConnection.prototype, 'step').mockRejectedValueOnce(refusal);
    const failed = Promise.allSettled([a.reset(), b.reset()]);
    await new Promise((go) => setImmediate(go));
    expect(state(await c.reset({ seed: 3 }))).toEqual([3, 0, 0]);
    for (const { status, reason } of (await failed) as PromiseRejectedResult[])
      expect({ status, reason }).toEqual({ status: 'rejected', reason: refusal });
  });

  it('that goes away is lost to all environments', async () => {
    const server = await serve(3);
    const all = await batchOf(server.address, 3);
    await Promise.all(all.map((one) => one.reset()));
    await server.close();
    const lost = await Promise.allSettled([all[0].step(push(0)), all[1].step(push(0))]);
    lost.push(...(await Promise.allSettled([all[2].step(push(0))])));
    for (const { status, reason } of lost as PromiseRejectedResult[]) {
      expect(status).toBe('rejected');
      expect(reason).toBeInstanceOf(ConnectionLostError);
    }
  });

  it('that refuses or ignores the setting causes an error with a remedy', async () => {
    const refusing = await scriptedServer(() => ({
      error: { code: 3, message: "unknown setting 'batchSize'" },
    }));
    const heedless = await scriptedServer(({ createWorld, joinWorld }) => {
      if (createWorld) return { createWorld: { worldName: 'w' } };
      const observations = { '1': { name: 'reward', dtype: 2 } };
      return joinWorld ? { joinWorld: { specs: { observations } } } : { leaveWorld: {} };
    });
    cleanups.push(refusing.close, heedless.close);
    await expect(batchOf(refusing.address, 2)).rejects.toThrow(
      /the server refused CreateWorld: INVALID_ARGUMENT: unknown setting 'batchSize' .*set environment.envsPerStream to 1/,
    );
    await expect(batchOf(heedless.address, 2)).rejects.toThrow(
      /did not create 2 simulators on one stream: it has no batch\/command, .*set environment.envsPerStream to 1/,
    );
  });
});
