import { gzipSync } from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countingEnvironment } from '../../../test/support/counting-environment.js';
import { PmpoError } from '../../core/errors.js';
import type { Environment } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { DmEnvRpcConnection } from '../client/connection.js';
import { decodeResponse, encodeRequest } from '../codec/messages.js';
import { packSetting } from '../codec/settings.js';
import {
  type EnvironmentServer,
  type ServeEnvironmentsOptions,
  serveEnvironments,
} from './serve-environments.js';

let server: EnvironmentServer | undefined;
let client: grpc.Client;
let make: () => Environment;

async function serve(options: Partial<ServeEnvironmentsOptions> = {}): Promise<EnvironmentServer> {
  server = await serveEnvironments({ createEnvironment: async () => make(), ...options });
  client = new grpc.Client(server.address, grpc.credentials.createInsecure(), {
    'grpc.max_send_message_length': -1,
  });
  return server;
}

const open = () => DmEnvRpcConnection.open({ address: server!.address, deadlineSeconds: 20 });

beforeEach(() => {
  make = () => countingEnvironment({});
});
afterEach(async () => {
  client?.close();
  await server?.close();
});

interface Ended {
  readonly responses: readonly wire.EnvironmentResponse[];
  readonly status: grpc.StatusObject;
}

const call = () =>
  client.makeBidiStreamRequest(
    '/dm_env_rpc.v1.Environment/Process',
    (bytes: Buffer) => bytes,
    (bytes) => decodeResponse(bytes),
    { deadline: Date.now() + 20_000 },
  );

/** Sends messages at once, and waits for the end of the stream. */
function send(...messages: readonly Uint8Array[]): Promise<Ended> {
  const stream = call();
  const responses: wire.EnvironmentResponse[] = [];
  stream.on('data', (response: wire.EnvironmentResponse) => responses.push(response));
  stream.on('error', () => {});
  for (const message of messages) stream.write(Buffer.from(message));
  stream.end();
  return new Promise((resolve) => stream.on('status', (status) => resolve({ responses, status })));
}

const step = encodeRequest({ step: {} });
const create = encodeRequest({ createWorld: {} });

describe('a malformed message', () => {
  it('behind others ends the stream with a reason after those are answered', async () => {
    await serve();
    for (let i = 0; i < 100; i++) {
      const ahead = [...Array<Uint8Array>(i % 2).fill(create), ...Array<Uint8Array>(i % 5).fill(step)];
      const { responses, status } = await send(...ahead, Uint8Array.of(255, 255, 255), step);
      expect(responses).toHaveLength(ahead.length);
      expect(status).toMatchObject({
        code: grpc.status.INVALID_ARGUMENT,
        details: 'a message of the stream is not an EnvironmentRequest of dm_env_rpc',
      });
    }
  });

  it('that never comes: a client that has sent everything gets all answers and OK', async () => {
    await serve();
    const { responses, status } = await send(create, step, step);
    expect(responses).toHaveLength(3);
    expect(status.code).toBe(grpc.status.OK);
  });
});

describe('limits', () => {
  it('hold for a broadcast, before it is made', async () => {
    await serve();
    const connection = await open();
    const huge = (shape: number[]): wire.Tensor => ({ strings: { array: ['a'] }, shape });
    for (const shape of [[2 ** 31 - 1], [2 ** 31 - 1, 2 ** 31 - 1], [5000]]) {
      const settings = { z: huge(shape) };
      await expect(connection.send('createWorld', { settings })).rejects.toThrow(/cannot be broadcast/);
    }
    const { worldName } = await connection.send('createWorld', {});
    await connection.send('joinWorld', { worldName });
    await connection.send('step', {});
    for (const tensor of [huge([2 ** 31 - 1]), { floats: { array: [1] }, shape: [2 ** 31 - 1] }])
      await expect(connection.send('step', { actions: { '1': tensor } })).rejects.toThrow(
        /but its spec is float32 \[1\]/,
      );
    connection.close();
  });

  it('hold for the size of a message, also of one that is small when compressed', async () => {
    await serve({ maxMessageMegabytes: 1 });
    const large = encodeRequest({ createWorld: { settings: { z: packSetting('a'.repeat(2 ** 21)) } } });
    expect((await send(large)).status.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    expect(gzipSync(large).length).toBeLessThan(10_000);
    client.close();
    client = new grpc.Client(server!.address, grpc.credentials.createInsecure(), {
      'grpc.default_compression_algorithm': 2,
      'grpc.max_send_message_length': -1,
    });
    expect((await send(large)).status.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  });

  it('hold for names and for the number of settings, and no error repeats them whole', async () => {
    await serve();
    const connection = await open();
    const long = 'x'.repeat(1_000_000);
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, packSetting(1)]));
    for (const request of [
      connection.send('createWorld', { settings: { [long]: packSetting(1) } }),
      connection.send('createWorld', { settings: many }),
      connection.send('resetWorld', { worldName: long }),
      connection.send('joinWorld', { worldName: '\u001b[2J\n' }),
    ]) {
      const error: Error = await request.then(
        () => new Error('accepted'),
        (e: Error) => e,
      );
      expect(error.message).not.toBe('accepted');
      expect(error.message.length).toBeLessThan(1000);
      expect(error.message).not.toContain('\u001b');
    }
    connection.close();
  });

  it('hold for the simulators of a stream', async () => {
    await serve();
    const connection = await open();
    const batch = (size: number) =>
      connection.send('createWorld', { settings: { batchSize: packSetting(size) } });
    const { worldName } = await batch(1000);
    await batch(24);
    await expect(connection.send('createWorld', {})).rejects.toThrow(
      /RESOURCE_EXHAUSTED: .* have 1024 simulators; 1 more would exceed the limit of 1024/,
    );
    await connection.send('destroyWorld', { worldName });
    await connection.send('createWorld', {});
    connection.close();
  });

  it('hold for the actions and observations that a step names', async () => {
    await serve();
    const connection = await open();
    const { worldName } = await connection.send('createWorld', {});
    await connection.send('joinWorld', { worldName });
    const actions = Object.fromEntries(
      Array.from({ length: 100 }, (_, i) => [`${i + 1}`, { floats: { array: [1] } }]),
    );
    await expect(connection.send('step', { actions })).rejects.toThrow(/names 100 actions; this world has 1/);
    const requestedObservations = Array.from({ length: 100 }, () => 1);
    await expect(connection.send('step', { requestedObservations })).rejects.toThrow(
      /names 100 observations; this world has 3/,
    );
    connection.close();
  });

  it('hold for the number of streams: a further one is refused at once', async () => {
    await serve({ maxStreams: 2 });
    const streams = [call(), call()];
    for (const stream of streams) {
      stream.on('error', () => {});
      stream.write(Buffer.from(create));
      await new Promise((resolve) => stream.once('data', resolve));
    }
    const { status } = await send(step);
    expect(status).toMatchObject({
      code: grpc.status.RESOURCE_EXHAUSTED,
      details: 'this server has 2 streams, the most it takes; close some',
    });
    streams[0].end();
    await expect.poll(async () => (await send(step)).status.code, { timeout: 5000 }).toBe(grpc.status.OK);
    streams[1].cancel();
  });

  it('hold for a client that sends without reading: the server stops taking its requests', async () => {
    let steps = 0;
    make = () =>
      countingEnvironment({
        length: 1e9,
        reward: () => {
          steps += 1;
          return 1;
        },
      });
    await serve();
    const stream = call();
    stream.on('error', () => {});
    const { worldName } = await new Promise<{ worldName?: string }>((resolve) => {
      stream.once('data', ({ createWorld }: wire.EnvironmentResponse) => {
        stream.pause();
        resolve(createWorld!);
      });
      stream.write(Buffer.from(create));
    });
    stream.write(Buffer.from(encodeRequest({ joinWorld: { worldName } })));
    const observe = encodeRequest({ step: { requestedObservations: [1, 2, 3] } });
    let sent = 0;
    let before = -1;
    // Stops when neither the client can send nor the server steps any more.
    for (let idle = 0; idle < 20 && sent < 200_000; ) {
      while (sent < 200_000 && stream.write(Buffer.from(observe))) sent += 1;
      sent += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
      idle = steps === before ? idle + 1 : 0;
      before = steps;
    }
    expect(steps).toBeGreaterThan(0);
    expect(steps).toBeLessThan(20_000);
    stream.cancel();
  }, 60_000);
});

describe('an environment', () => {
  it('with an observation named reward or discount is refused', async () => {
    const specs = { reward: { name: 'reward', shape: [1], dtype: 'float32' as const } };
    make = () => countingEnvironment({ specs });
    await serve();
    const connection = await open();
    const both: Record<string, wire.Tensor>[] = [{}, { batchSize: packSetting(2) }];
    for (const settings of both) {
      await expect(connection.send('createWorld', { settings })).rejects.toThrow(
        /the environment's observation 'reward' and the reward of each step would both be named 'reward'/,
      );
    }
    connection.close();
  });

  it('that fails is reported with its world, episode and step, and its next step starts an episode', async () => {
    let fails = true;
    make = () =>
      countingEnvironment({
        reward: (count) => {
          if (count === 2 && fails) throw new PmpoError({ what: 'unstable\u001b[2J' });
          return count;
        },
      });
    await serve();
    const connection = await open();
    const { worldName } = await connection.send('createWorld', {});
    await connection.send('joinWorld', { worldName });
    await connection.send('step', {});
    await connection.send('step', {});
    await expect(connection.send('step', {})).rejects.toThrow(
      `INTERNAL: ${worldName}, episode 1, step 2: unstable\\x1b[2J`,
    );
    fails = false;
    const { observations } = await connection.send('step', { requestedObservations: [2] });
    expect(observations!['2'].doubles!.array).toEqual([0]);
    connection.close();
  });
});
