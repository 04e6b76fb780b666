import { createServer, type Server, type Socket } from 'node:net';
import type * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { grpcServer } from '../../../test/environments/servers.js';
import { countingEnvironment } from '../../../test/support/counting-environment.js';
import { scriptedServer } from '../../../test/support/scripted-server.js';
import { ConnectionLostError } from '../../core/errors.js';
import type { NamedTensorValues } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { environmentService } from '../codec/messages.js';
import { DmEnvRpcError } from '../errors.js';
import { serveEnvironments } from '../server/serve-environments.js';
import { RemoteEnvironment, type RemoteEnvironmentOptions } from './remote-environment.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const push = (value: number): NamedTensorValues => ({
  push: { dtype: 'float32', shape: [1], data: Float32Array.of(value) },
});

async function ours(options: Parameters<typeof countingEnvironment>[0] = {}) {
  const server = await serveEnvironments({ createEnvironment: async () => countingEnvironment(options) });
  cleanups.push(() => server.close());
  return server;
}

async function connect(address: string, more: Partial<RemoteEnvironmentOptions> = {}) {
  const remote = await RemoteEnvironment.connect({ address, deadlineSeconds: 5, ...more });
  cleanups.push(() => remote.close());
  return remote;
}

async function scripted(
  answer: (request: wire.EnvironmentRequest) => wire.EnvironmentResponse | undefined,
): Promise<string> {
  const { address, close } = await scriptedServer(answer);
  cleanups.push(close);
  return address;
}

const specs: wire.ActionObservationSpecs = {
  actions: { '5': { name: 'push', shape: [1], dtype: 1 } },
  observations: {
    '9': { name: 'reward', dtype: 2 },
    '7': { name: 'state', shape: [1], dtype: 1 },
  },
};

describe('an episode', () => {
  it('starts, continues and ends as the interface says', async () => {
    const { address } = await ours({ length: 3, end: 'terminated' });
    const remote = await connect(address);
    expect(Object.keys(remote.observationSpec)).toEqual(['state']);
    expect(remote.actionSpec.push).toMatchObject({ minimum: -1, maximum: 1, shape: [1] });
    await expect(remote.step(push(0))).rejects.toThrow(/before the first reset/);
    const first = await remote.reset({ seed: 11 });
    expect([...(first.observation.state.data as Float32Array)]).toEqual([11, 0, 0]);
    const step = await remote.step(push(0.5));
    expect(step).toMatchObject({ reward: 1, terminated: false, truncated: false });
    expect([...(step.observation.state.data as Float32Array)]).toEqual([11, 1, 0.5]);
    await remote.step(push(0));
    expect(await remote.step(push(0))).toMatchObject({ terminated: true, truncated: false });
    await expect(remote.step(push(0))).rejects.toThrow(/after the episode ended/);
    expect([...((await remote.reset()).observation.state.data as Float32Array)][1]).toBe(0);
    await remote.resetWorld({ seed: 4 });
    expect(await remote.listProperties()).toEqual([]);
    await expect(remote.readProperty('a')).rejects.toThrow(/NOT_FOUND/);
    await expect(remote.writeProperty('a', push(1).push)).rejects.toThrow(/NOT_FOUND/);
  });

  it('cut off by a time limit is truncated', async () => {
    const remote = await connect((await ours({ length: 1 })).address);
    await remote.reset();
    expect(await remote.step(push(0))).toMatchObject({ terminated: false, truncated: true });
  });

  it('refuses an invalid action before sending it', async () => {
    const remote = await connect((await ours()).address);
    await remote.reset();
    await expect(remote.step(push(3))).rejects.toThrow(/action 'push': element 0 is 3, above its maximum 1/);
    await expect(remote.step({ pull: push(0).push })).rejects.toThrow(/unknown action 'pull'/);
  });

  it('has the requested observations, and an error for one that does not exist', async () => {
    const { address } = await ours();
    expect(Object.keys((await connect(address, { observations: ['state'] })).observationSpec)).toEqual([
      'state',
    ]);
    await expect(connect(address, { observations: ['speed'] })).rejects.toThrow(
      /no observation 'speed'.*It has state/,
    );
  });
});

describe('servers by others', () => {
  const usual = (request: wire.EnvironmentRequest): wire.EnvironmentResponse => {
    if (request.createWorld) return { error: { code: 12, message: 'one world only' } };
    if (request.joinWorld) return { joinWorld: { specs } };
    if (request.reset) {
      const seeded = Object.keys(request.reset.settings ?? {}).length > 0;
      return seeded ? { error: { code: 3, message: 'no settings here' } } : { reset: { specs } };
    }
    if (request.step) {
      const observations = {
        '9': { doubles: { array: [0.5] } },
        '7': { floats: { array: [2] }, shape: [1] },
      };
      return { step: { state: 1, observations } };
    }
    return { leaveWorld: {} };
  };

  it('that cannot create worlds and do not take seeds are joined as they are', async () => {
    const notices: string[] = [];
    const remote = await connect(await scripted(usual), { notice: (line) => notices.push(line) });
    expect(remote.worldName).toBe('');
    await remote.reset();
    expect(notices).toEqual([]);
    for (const seed of [3, 4]) {
      const { observation } = await remote.reset({ seed });
      expect(observation.state.data).toEqual(Float32Array.of(2));
    }
    expect((await remote.step(push(1))).reward).toBe(0.5);
    expect(notices).toEqual([
      expect.stringMatching(
        /^127\.0\.0\.1:\d+: the server refused Reset: INVALID_ARGUMENT: no settings here\. So it was not given the seed/,
      ),
    ]);
  });

  it('that fail a step or a reset end the episode, and are asked for the next one', async () => {
    // The errors, and the states of the steps, in order.
    const steps: (number | 'fail')[] = ['fail', 1, 'fail', 1, 2, 'fail', 1, 1];
    const asked: string[] = [];
    const address = await scripted((request) => {
      if (request.reset || request.step) asked.push(Object.keys(request)[0]);
      if (!request.step) return usual(request);
      const state = steps.shift()!;
      return state === 'fail'
        ? { error: { code: 13, message: 'unstable' } }
        : { step: { ...usual(request).step, state } };
    });
    const remote = await connect(address);
    const isOver = async () => {
      const before = asked.length;
      await expect(remote.step(push(0))).rejects.toThrow(/after the episode ended.*Call reset first/);
      expect(asked).toHaveLength(before);
    };
    await expect(remote.reset()).rejects.toThrow(/unstable/);
    await isOver();
    await remote.reset();
    await expect(remote.step(push(0))).rejects.toThrow(/unstable/);
    await isOver();
    await remote.reset();
    // A step that is not sent does not end the episode.
    await expect(remote.step(push(Number.NaN))).rejects.toThrow(/NaN/);
    await expect(remote.step({ pull: push(0).push })).rejects.toThrow(/unknown action 'pull'/);
    expect(await remote.step(push(0))).toMatchObject({ terminated: true });
    asked.length = 0;
    // The server's next step starts an episode without a Reset; after an error that is unknown.
    await expect(remote.reset()).rejects.toThrow(/unstable/);
    await isOver();
    await remote.reset();
    expect(await remote.step(push(0))).toMatchObject({ terminated: false });
    expect(asked).toEqual(['step', 'reset', 'step', 'step']);
  });

  describe('that lack Reset', () => {
    /** Episodes of 2 steps; the observation is the number of the world, and the step in it. */
    async function withoutReset(refuse: 'response' | 'status') {
      let worlds = 0;
      const asked: string[] = [];
      const server = await grpcServer(environmentService, {
        Process(call: grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>) {
          let t = 0;
          call.on('error', () => {});
          call.on('data', (request: wire.EnvironmentRequest) => {
            asked.push(Object.keys(request)[0]);
            if (request.createWorld) worlds += 1;
            if (request.reset) {
              const error = { code: 12, message: 'Reset is not supported here' };
              if (refuse === 'response') call.write({ error });
              else call.emit('error', { code: 12, details: error.message });
              return;
            }
            if (request.step) {
              const state = t % 3 === 2 ? 2 : 1;
              const observations = {
                '9': { doubles: { array: [1] } },
                '7': { floats: { array: [10 * worlds + (t % 3)] }, shape: [1] },
              };
              t += 1;
              call.write({ step: { state, observations } });
              return;
            }
            call.write(request.createWorld ? { createWorld: { worldName: 'w' } } : usual(request));
          });
        },
      });
      cleanups.push(() => server.close());
      return { remote: await connect(server.address), asked };
    }
    const numberOf = ({ observation }: { observation: NamedTensorValues }) => observation.state.data[0];

    it.each(['response', 'status'] as const)('(by a %s) start each episode with a step', async (refuse) => {
      const { remote, asked } = await withoutReset(refuse);
      const world = refuse === 'response' ? 10 : 20;
      for (let episode = 0; episode < 3; episode++) {
        expect(numberOf(await remote.reset({ seed: episode }))).toBe(world);
        expect(numberOf(await remote.step(push(0)))).toBe(world + 1);
        const last = await remote.step(push(0));
        expect(numberOf(last)).toBe(world + 2);
        expect(last.terminated).toBe(true);
      }
      // It is asked once.
      expect(asked.filter((kind) => kind === 'reset')).toHaveLength(1);
    });

    it('get a new world for a reset within an episode', async () => {
      const { remote } = await withoutReset('response');
      await remote.reset();
      await remote.step(push(0));
      expect(numberOf(await remote.reset())).toBe(20);
      expect(numberOf(await remote.step(push(0)))).toBe(21);
    });
  });

  it('that end the stream at a Reset with a seed are asked without one', async () => {
    const seeds: boolean[] = [];
    const server = await grpcServer(environmentService, {
      Process(call: grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>) {
        call.on('error', () => {});
        call.on('data', (request: wire.EnvironmentRequest) => {
          const isSeeded = Object.keys(request.reset?.settings ?? {}).length > 0;
          if (request.reset) seeds.push(isSeeded);
          if (isSeeded) call.emit('error', { code: 3, details: "unknown setting 'seed'" });
          else call.write(usual(request));
        });
      },
    });
    cleanups.push(() => server.close());
    const notices: string[] = [];
    const remote = await connect(server.address, { notice: (line) => notices.push(line) });
    for (let episode = 0; episode < 3; episode++) {
      await remote.reset({ seed: episode });
      expect((await remote.step(push(0))).reward).toBe(0.5);
    }
    expect(seeds).toEqual([true, false, false]);
    expect(notices).toEqual([expect.stringMatching(/unknown setting 'seed'\. So it was not given the seed/)]);
  });

  it('that want a setting of another type say how to give it', async () => {
    const types: string[] = [];
    const address = await scripted((request) => {
      if (!request.createWorld) return usual(request);
      const { timeLimit } = request.createWorld.settings!;
      types.push(Object.keys(timeLimit).find((key) => key !== 'shape')!);
      return timeLimit.doubles
        ? { createWorld: { worldName: 'w' } }
        : { error: { code: 3, message: "setting 'timeLimit' must be a double" } };
    });
    await expect(connect(address, { createSettings: { timeLimit: 10 } })).rejects.toThrow(
      /the server refused CreateWorld: .*Whole numbers are sent as integers; for another type, write timeLimit: \{double: 10\}/,
    );
    await connect(address, { createSettings: { timeLimit: { double: 10 } } });
    expect(types).toEqual(['int32s', 'doubles']);
  });

  it("that refuse a request are quoted, with gRPC's name of the code", async () => {
    const address = await scripted(() => ({ error: { code: 8, message: 'full' } }));
    const failed = connect(address);
    await expect(failed).rejects.toThrow(
      `${address}: the server refused CreateWorld: RESOURCE_EXHAUSTED: full`,
    );
    await expect(failed).rejects.toMatchObject({ code: 8, serverMessage: 'full' });
    await expect(failed).rejects.toBeInstanceOf(DmEnvRpcError);
  });

  it('whose specs change with a reset are an error', async () => {
    const other = { ...specs, actions: { '5': { name: 'push', shape: [2], dtype: 1 } } };
    const address = await scripted((request) =>
      request.reset ? { reset: { specs: other } } : usual(request),
    );
    await expect((await connect(address)).reset()).rejects.toThrow(
      /a reset changed the specs of observations or actions: now its action 'push' has the shape \[2\], not \[1\]\. A policy/,
    );
  });

  it('whose next world has other specs are an error', async () => {
    const other = { ...specs, actions: { '5': { name: 'pull', shape: [1], dtype: 1 } } };
    let joined = 0;
    const address = await scripted((request) => {
      if (request.reset) return { error: { code: 12, message: 'Reset is not supported here' } };
      return request.joinWorld && joined++ > 0 ? { joinWorld: { specs: other } } : usual(request);
    });
    const remote = await connect(address);
    await remote.reset();
    await remote.step(push(0));
    await expect(remote.reset()).rejects.toThrow(
      /its specs are not those of the world before it: among its actions it lacks push, and has also pull\. A policy/,
    );
  });

  it('without a reward are refused', async () => {
    const bare = { ...specs, observations: { '7': specs.observations!['7'] } };
    const address = await scripted((request) =>
      request.joinWorld ? { joinWorld: { specs: bare } } : usual(request),
    );
    await expect(connect(address)).rejects.toThrow(/no observation named reward/);
  });

  it('that send observations of another form than their spec are an error', async () => {
    const odd = { '9': { doubles: { array: [0] } }, '7': { doubles: { array: [2] }, shape: [1] } };
    const address = await scripted((request) =>
      request.step ? { step: { state: 1, observations: odd } } : usual(request),
    );
    await expect((await connect(address)).reset()).rejects.toThrow(
      /observation 'state': it is float64 \[1\], but its spec is float32 \[1\]/,
    );
  });

  it('that never answer are given up at the deadline', async () => {
    const address = await scripted(() => undefined);
    const failed = connect(address, { deadlineSeconds: 2 });
    await expect(failed).rejects.toThrow(/no answer to CreateWorld within 2 s/);
    await expect(failed).rejects.toBeInstanceOf(ConnectionLostError);
  });
});

describe('an address', () => {
  it('that no server listens on is an error at once', async () => {
    const failed = connect('127.0.0.1:1', { deadlineSeconds: 3600 });
    await expect(failed).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(failed).rejects.toThrow(
      /127.0.0.1:1: no server answers there \(the connection was refused\). Start the server/,
    );
  });

  it('whose server accepts connections and stays silent is an error at the deadline', async () => {
    const sockets: Socket[] = [];
    const server: Server = createServer((socket) => sockets.push(socket.on('error', () => {})));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { port } = server.address() as { port: number };
    await expect(connect(`127.0.0.1:${port}`, { deadlineSeconds: 1 })).rejects.toThrow(/waited 1 s/);
  });

  it('whose server goes away fails the pending requests', async () => {
    const server = await ours();
    const remote = await connect(server.address);
    await remote.reset();
    await server.close();
    await expect(remote.step(push(0))).rejects.toBeInstanceOf(ConnectionLostError);
  });
});
