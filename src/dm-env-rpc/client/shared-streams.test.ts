import { afterEach, describe, expect, it, vi } from 'vitest';
import { type BatchServer, recordCommands, serveBatches } from '../../../test/support/batch-server.js';
import { countingEnvironment } from '../../../test/support/counting-environment.js';
import { ConnectionLostError } from '../../core/errors.js';
import {
  createVectorEnvironment,
  type VectorEnvironmentOptions,
} from '../../environments/create-vector-environment.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { createSimulator } from '../../simulators/registry.js';
import { serveEnvironments } from '../server/serve-environments.js';
import { connectOverSharedStreams } from './shared-streams.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const deadlineSeconds = 20;
/** Environments whose episodes differ in length, by their number in a batch. */
const unequal = (i: number) =>
  countingEnvironment({ length: 2 + i, end: i % 2 === 0 ? 'terminated' : 'truncated' });

async function serve(size: number, port = 0): Promise<BatchServer> {
  const server = await serveBatches(unequal, { size, port });
  cleanups.push(() => server.close());
  return server;
}

async function vectorOf(
  connect: VectorEnvironmentOptions['connect'],
  size: number,
  more: Partial<VectorEnvironmentOptions> = {},
): Promise<VectorEnvironment> {
  const vector = await createVectorEnvironment({
    connect,
    numEnvs: size,
    episodeSeed: (k, episode) => 100 * k + episode,
    reconnect: { attempts: 50, initialDelaySeconds: 0.01, maxDelaySeconds: 0.05 },
    notice: () => {},
    ...more,
  });
  cleanups.push(() => vector.close());
  return vector;
}

const over = (addresses: readonly string[], size: number, envsPerStream: number) =>
  connectOverSharedStreams({
    numEnvs: size,
    envsPerStream,
    optionsOf: (stream) => ({
      address: addresses[stream % addresses.length],
      deadlineSeconds,
      reuseArrays: true,
    }),
  });

const actionsAt = (t: number, size: number) =>
  Float32Array.from({ length: size }, (_, k) => Math.sin(3 * t + k));

describe('environments that share streams', () => {
  it('give the same experience as alone: resets at different times, and an open episode that is restored', async () => {
    const server = await serve(3);
    const batched = await vectorOf(over([server.address], 6, 3), 6);
    const alone = await vectorOf(async (k) => unequal(k % 3), 6);
    expect(await batched.reset()).toEqual(await alone.reset());
    for (let t = 0; t < 13; t++) {
      const actions = actionsAt(t, 6);
      expect(await batched.step(actions)).toEqual(await alone.step(actions));
    }
    expect(batched.state()).toEqual(alone.state());
    expect(server.worlds()).toBe(2);
    const again = await vectorOf(over([server.address], 6, 3), 6);
    await again.restore(batched.state());
    const actions = actionsAt(13, 6);
    expect(await again.step(actions)).toEqual(await alone.step(actions));
  });

  it('give the same experience as an embedded simulator, bit for bit', async () => {
    const create = () => createSimulator({ simulator: 'cartpole_swingup', episodeSteps: 9 });
    const server = await serveEnvironments({ createEnvironment: create });
    cleanups.push(() => server.close());
    const [batched, alone] = [await vectorOf(over([server.address], 3, 2), 3), await vectorOf(create, 3)];
    expect(await batched.reset()).toEqual(await alone.reset());
    for (let t = 0; t < 25; t++) {
      const actions = actionsAt(t, 3);
      expect(await batched.step(actions)).toEqual(await alone.step(actions));
    }
  });

  it('take one message for a step of all, and one for the resets that follow', async () => {
    const sent = recordCommands();
    const server = await serve(3);
    const vector = await vectorOf(over([server.address], 3, 3), 3);
    await vector.reset();
    for (let t = 0; t < 4; t++) await vector.step(actionsAt(t, 3));
    expect(sent).toEqual([
      [1, 1, 1],
      [0, 0, 0],
      [0, 0, 0],
      [1, 2, 2],
      [0, 0, 0],
      [2, 1, 2],
      [0, 0, 0],
      // The first has ended for the second time, the third for the first.
      [1, 2, 1],
    ]);
  });

  it('fill streams in order; the rest share a smaller one, and one alone does not request a batch', async () => {
    const sent = recordCommands();
    const [first, second] = [await serve(2), await serve(2)];
    const vector = await vectorOf(over([first.address, second.address], 7, 2), 7);
    expect((await vector.reset()).observations.filter((_, i) => i % 3 === 0)).toEqual(
      Float32Array.of(0, 100, 200, 300, 400, 500, 600),
    );
    expect([first.worlds(), second.worlds()]).toEqual([2, 2]);
    // The seventh environment's messages have no commands.
    expect(sent).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    const five = await vectorOf(over([first.address], 5, 3), 5);
    await five.reset();
    expect(sent.slice(3).map(({ length }) => length)).toEqual([3, 2]);
  });

  it('without lockstep: a slow one holds back only the environments of its stream', async () => {
    let letGo = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const server = await serveBatches(() => {
      const environment = countingEnvironment({ length: 3 });
      let isSlow = false;
      return {
        ...environment,
        reset: (options = {}) => {
          // The seeds of the sixth environment's episodes.
          isSlow = options.seed! >= 500;
          return environment.reset(options);
        },
        step: (action) => (isSlow ? gate.then(() => environment.step(action)) : environment.step(action)),
      };
    });
    cleanups.push(() => server.close());
    const vector = await vectorOf(over([server.address], 6, 2), 6, { lockstep: false });
    cleanups.push(letGo);
    await vector.reset();
    // A step waits for half of the environments, three; they come in pairs, so that four answer.
    for (let t = 0; t < 7; t++) {
      expect([...(await vector.step(actionsAt(t, 6))).ready]).toEqual([1, 1, 1, 1, 0, 0]);
    }
    letGo();
    for (let steps = 0, t = 7; steps < 4; t++) {
      const { ready } = await vector.step(actionsAt(t, 6));
      for (const k of [0, 2, 4]) expect(ready[k + 1]).toBe(ready[k]);
      steps += ready[5];
    }
  });

  it('lose their connection together and share the next', async () => {
    const first = await serve(3);
    const living = await serve(3);
    const notices: string[] = [];
    const vector = await vectorOf(over([first.address, living.address], 6, 3), 6, {
      notice: (message) => notices.push(message),
    });
    await vector.reset();
    await vector.step(actionsAt(0, 6));
    await first.close();
    const stepping = vector.step(actionsAt(1, 6));
    const second = await serve(3, first.port);
    const step = await stepping;
    expect([...step.lost]).toEqual([1, 1, 1, 0, 0, 0]);
    expect([...step.currentObservations.subarray(0, 9)]).toEqual([1, 0, 0, 101, 0, 0, 201, 0, 0]);
    expect(second.worlds()).toBe(1);
    expect([...(await vector.step(actionsAt(2, 6))).lost]).toEqual([0, 0, 0, 0, 0, 0]);
    await vector.close();
    expect(notices.filter((notice) => /connected again|Reconnecting/.test(notice))).toEqual([
      expect.stringMatching(/^environments 0, 1, 2: .* Reconnecting$/),
      'environments 0, 1, 2: connected again, with a fresh episode',
    ]);
  });

  it('end in an error when the connection stays lost', async () => {
    const server = await serve(2);
    const vector = await vectorOf(over([server.address], 2, 2), 2, {
      reconnect: { attempts: 2, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
    });
    await vector.reset();
    await server.close();
    const failed = vector.step(actionsAt(0, 2));
    await expect(failed).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(failed).rejects.toThrow(/2 attempts to reconnect failed/);
  });

  it('keep their stream until the last is closed, and try again after a failed connection', async () => {
    const server = await serve(2);
    const connect = over([server.address], 2, 2);
    const [a, b] = await Promise.all([connect(0), connect(1)]);
    await Promise.all([a.reset(), b.reset()]);
    await a.close();
    await expect(a.reset()).rejects.toBeInstanceOf(ConnectionLostError);
    await b.reset();
    const again = await connect(0);
    await again.reset();
    expect(server.worlds()).toBe(1);
    await Promise.all([again.close(), b.close()]);
    const other = await connect(1);
    await other.reset();
    expect(server.worlds()).toBe(2);
    await other.close();

    const nowhere = over(['127.0.0.1:1'], 2, 2);
    for (const failed of await Promise.allSettled([nowhere(0), nowhere(1)])) {
      expect((failed as PromiseRejectedResult).reason).toBeInstanceOf(ConnectionLostError);
    }
  });
});
