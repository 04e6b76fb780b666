import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { environmentService } from '../../src/dm-env-rpc/codec/messages.js';
import type * as wire from '../../src/generated/dm-env-rpc.js';
import { folderFor, smallRun, train } from './run.js';
import {
  grpcServer,
  refusingServer,
  type ScriptedWorld,
  scriptedServer,
  scriptedWorld,
  socketServer,
  type TestServer,
} from './servers.js';

let folder: Awaited<ReturnType<typeof folderFor>>;
beforeAll(async () => {
  folder = await folderFor('bad-servers');
});
afterAll(() => folder.remove());

const servers: TestServer[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function trainOn(
  server: TestServer,
  environment: Record<string, unknown> = {},
  name = 'r',
  args?: readonly string[],
) {
  servers.push(server);
  const config = smallRun(folder.path, { address: server.address, ...environment });
  return train(folder.path, { ...config, name }, args);
}

async function expectRefusal(
  server: TestServer,
  message: RegExp,
  environment?: Record<string, unknown>,
): Promise<void> {
  const { code, said } = await trainOn(server, environment);
  expect(said).toMatch(message);
  expect(said).toMatch(/^pmpo: [^\n]*\n$/);
  expect(code).toBe(1);
}

/** A server of another protocol. */
async function httpServer(): Promise<TestServer> {
  const server = createHttpServer((_request, response) => response.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return { address: `127.0.0.1:${port}`, close: () => server.close() };
}

const otherVersion: grpc.ServiceDefinition = {
  Process: { ...environmentService.Process, path: '/dm_env_rpc.v2.Environment/Process' },
};
const otherService: grpc.ServiceDefinition = {
  Check: { ...environmentService.Process, path: '/grpc.health.v1.Health/Watch' },
};
const otherMessages: grpc.ServiceDefinition = {
  Process: {
    ...environmentService.Process,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
  },
};

describe('a server of another protocol, or one that fails, ends the run with one line:', () => {
  const strangers: Record<string, [() => Promise<TestServer>, RegExp]> = {
    'HTTP/1': [httpServer, /127\.0\.0\.1:\d+: the server speaks HTTP\/1, not gRPC/],
    SSH: [
      () => socketServer((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n')),
      /the server does not speak gRPC/,
    ],
    'a server that hangs up': [
      () => socketServer((socket) => socket.end()),
      /the server ended the connection at once/,
    ],
    silence: [() => socketServer(() => {}), /accepts connections but never answers \(waited 2 s\)/],
    'silence over gRPC': [
      () => scriptedServer(() => () => undefined),
      /no answer to CreateWorld within 2 s\. Is the server still running there\?/,
    ],
    'gRPC without this service': [
      () => grpcServer(otherService, { Check() {} }),
      /the server does not speak dm_env_rpc v1 .*Give the address of a dm_env_rpc server/,
    ],
    'another version': [() => grpcServer(otherVersion, { Process() {} }), /does not speak dm_env_rpc v1/],
    'other messages': [
      () =>
        grpcServer(otherMessages, {
          Process(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
            call.on('data', () => call.write(Buffer.from('no such message')));
            call.on('error', () => {});
          },
        }),
      /the server's messages are not dm_env_rpc v1/,
    ],
    'no permission': [
      () => refusingServer(grpc.status.PERMISSION_DENIED, 'not on Sundays'),
      /the server does not allow this: not on Sundays/,
    ],
    'an overloaded server': [
      () => refusingServer(grpc.status.RESOURCE_EXHAUSTED, 'too many streams'),
      /the connection was lost: too many streams/,
    ],
    'a response to another request': [
      () => scriptedServer(() => () => ({ leaveWorld: {} })),
      /the response to CreateWorld is of another kind: leaveWorld/,
    ],
    'a refusal': [
      () => scriptedServer(() => () => ({ error: { code: 8, message: 'full' } })),
      /the server refused CreateWorld: RESOURCE_EXHAUSTED: full/,
    ],
  };
  it.each(Object.entries(strangers))('%s', async (_what, [server, message]) => {
    await expectRefusal(await server(), message, { deadlineSeconds: 2 });
  });
});

describe('specs that a policy cannot use end the run with one line:', () => {
  const double = 2;
  const doubles = (...array: number[]) => ({ doubles: { array } });
  const bounded = (min: number[] | undefined, max: number[] | undefined): ScriptedWorld => ({
    action: {
      shape: [2],
      dtype: double,
      ...(min && { min: doubles(...min) }),
      ...(max && { max: doubles(...max) }),
    },
  });
  const observing = (spec: wire.TensorSpec): ScriptedWorld => ({ observations: { state: [spec, {}] } });
  const worlds: Record<string, [ScriptedWorld, RegExp]> = {
    'no bounds': [
      bounded(undefined, undefined),
      /action 'push': element 0 has the minimum \(none\) and the maximum \(none\)/,
    ],
    'one bound': [
      bounded([-1], undefined),
      /action 'push': element 0 has the minimum -1 and the maximum \(none\)/,
    ],
    'an infinite bound': [
      bounded([-1, -1], [1, Number.POSITIVE_INFINITY]),
      /action 'push': element 1 has the minimum -1 and the maximum Infinity.*finite minimum and maximum/,
    ],
    'a NaN bound': [bounded([Number.NaN], [1]), /element 0 has the minimum NaN and the maximum 1/],
    'bounds the wrong way round': [bounded([1], [-1]), /element 0 has the minimum 1 and the maximum -1/],
    'three bounds for two elements': [
      bounded([1, 2, 3], [4]),
      /the spec 'push' has 3 bounds for the shape \[2\]/,
    ],
    'no actions': [
      { action: { shape: [0], dtype: double, min: doubles(0), max: doubles(1) } },
      /actions: the environment has no actions/,
    ],
    'a string action': [
      { action: { dtype: 10 } },
      /action 'push': its dtype is string, and a policy needs numbers/,
    ],
    'an action of any 64-bit integer': [
      {
        action: {
          dtype: 5,
          min: { int64s: { array: ['-9223372036854775808'] } },
          max: { int64s: { array: ['9223372036854775807'] } },
        },
      },
      /action 'push': element 0 has the minimum -\d+ and the maximum \d+, and bounds beyond 16777216 count as missing/,
    ],
    'no observations': [
      observing({ shape: [0], dtype: double }),
      /observations: the environment has no observations/,
    ],
    'only string observations': [
      observing({ dtype: 10 }),
      /the world 'w' has no observation that holds numbers, which a policy needs. It has state \(string\)/,
    ],
    'an axis of any length': [
      observing({ shape: [-1], dtype: double }),
      /observation 'state': its shape \[-1\] is not fixed/,
    ],
    'two axes of any length': [
      observing({ shape: [-1, -1], dtype: double }),
      /the spec 'state' has the shape \[-1,-1\]/,
    ],
    'an unknown data type': [observing({ dtype: 99 }), /the spec 'state' has the unknown data type 99/],
  };
  it.each(Object.entries(worlds))('%s', async (_what, [world, message]) => {
    await expectRefusal(await scriptedWorld(world), message);
  });

  it('no reward', async () => {
    const specs = { observations: { '1': { name: 'state', dtype: 1 } } };
    const server = await scriptedServer(
      () => (request) => (request.joinWorld ? { joinWorld: { specs } } : { createWorld: { worldName: 'w' } }),
    );
    await expectRefusal(server, /the world 'w' has no observation named reward.*It offers state/);
  });

  it('a requested observation that does not exist', async () => {
    await expectRefusal(await scriptedWorld(), /has no observation 'speed'. It has state/, {
      observations: ['speed'],
    });
  });
});

describe('steps that go wrong end the run with one line:', () => {
  const from = 5;
  const without = (uid: string, usual: wire.EnvironmentResponse): wire.EnvironmentResponse => {
    const { [uid]: _, ...observations } = usual.step!.observations!;
    return { step: { ...usual.step, observations } };
  };
  const changed = (
    uid: string,
    value: object,
    usual: wire.EnvironmentResponse,
  ): wire.EnvironmentResponse => ({
    step: { ...usual.step, observations: { ...usual.step!.observations, [uid]: value } },
  });
  const steps: Record<string, [NonNullable<ScriptedWorld['step']>, RegExp, Record<string, unknown>?]> = {
    'an error': [
      () => ({ error: { code: 13, message: 'the solver diverged' } }),
      /the server refused Step: INTERNAL: the solver diverged/,
    ],
    'no reward': [(_t, usual) => without('2', usual), /world 'w': the response to a step has no reward/],
    'no observation': [(_t, usual) => without('1', usual), /the observation 'state' is missing in a step/],
    'another shape': [
      (_t, usual) => changed('1', { floats: { array: [1, 2] }, shape: [2] }, usual),
      /world 'w', observation 'state': it is float32 \[2\], but its spec is float32 \[1\]/,
    ],
    'more elements than the shape has': [
      (_t, usual) => changed('1', { floats: { array: [1, 2] }, shape: [1] }, usual),
      /2 elements do not fill the shape \[1\]/,
    ],
    'an empty tensor': [(_t, usual) => changed('1', {}, usual), /a tensor has no payload/],
    NaN: [
      (_t, usual) => changed('1', { floats: { array: [Number.NaN] }, shape: [1] }, usual),
      /environment \d, episode \d+, step \d+: observation 'state'\[0\] is NaN/,
    ],
    'a message over the limit': [
      (_t, usual) => changed('3', { uint8s: { array: new Uint8Array(2 ** 20) } }, usual),
      /a message is over the limit: .*environment\.maxMessageMegabytes/,
      { maxMessageMegabytes: 0.5 },
    ],
  };
  it.each(Object.entries(steps))('%s', async (_what, [step, message, environment]) => {
    const world = await scriptedWorld({ step: (t, usual) => (t < from ? usual : step(t, usual)) });
    await expectRefusal(world, message, environment);
  });

  it('no answer, also after reconnecting', async () => {
    let silent = false;
    const world = await scriptedWorld({
      step(t, usual) {
        silent ||= t >= from;
        return silent ? undefined : usual;
      },
    });
    const { code, said } = await trainOn(world, impatient);
    expect(said).toMatch(/^pmpo: .*no answer to Step within 2 s.*\n$/);
    expect(code).toBe(1);
  });
});

const impatient = { deadlineSeconds: 2, reconnect: { attempts: 1, initialDelaySeconds: 0.01 } };

describe('a run continues', () => {
  const summary = async (name: string) =>
    JSON.parse(await readFile(join(folder.path, name, 'summary.json'), 'utf8')) as object;

  it('without strings, with flattened images, and with empty tensors', async () => {
    const image = new Uint8Array(4 * 4 * 3).fill(9);
    const world = await scriptedWorld({
      observations: {
        image: [
          { shape: [4, 4, 3], dtype: 6 },
          { uint8s: { array: image }, shape: [4, 4, 3] },
        ],
        nothing: [
          { shape: [0], dtype: 1 },
          { floats: { array: [] }, shape: [0] },
        ],
        text: [{ dtype: 10 }, { strings: { array: ['hello'] } }],
      },
    });
    const { code, said } = await trainOn(world, {}, 'odd');
    expect({ code, said }).toEqual({ code: 0, said: '' });
    expect(await summary('odd')).toMatchObject({ steps: 200 });
  });

  it('without seeds that the server refuses, and says so once for all environments', async () => {
    const world = await scriptedWorld({ takesSeeds: false });
    const { code, said } = await trainOn(world, {}, 'seedless', []);
    expect(code).toBe(0);
    const lines = said.split('\n').filter((line) => line.includes('was not given the seed'));
    expect(lines).toEqual([
      expect.stringMatching(/acting: .*refused Reset: INVALID_ARGUMENT: unknown setting 'seed'\. So it/),
      expect.stringMatching(/evaluation: .*refused Reset/),
    ]);
    expect(await summary('seedless')).toMatchObject({ steps: 200 });
  });

  it('when a step is not answered, but a new connection is', async () => {
    const world = await scriptedWorld({ step: (t, usual) => (t < 60 ? usual : undefined) });
    const { code, said } = await trainOn(world, impatient, 'silent');
    expect({ code, said }).toEqual({ code: 0, said: '' });
    expect(await summary('silent')).toMatchObject({ steps: 200 });
  });
});
