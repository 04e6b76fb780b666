import { createServer } from 'node:http2';
import { gzipSync } from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { grpcServer } from '../../../test/environments/servers.js';
import { ConnectionLostError, OutOfStepError } from '../../core/errors.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { environmentService } from '../codec/messages.js';
import { DmEnvRpcError } from '../errors.js';
import { DmEnvRpcConnection } from './connection.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Call = grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>;
const created: wire.EnvironmentResponse = { createWorld: { worldName: 'w' } };

/** A server that treats request number i of each stream as `answer` says. */
async function serve(
  answer: (call: Call, request: wire.EnvironmentRequest, i: number) => void,
): Promise<string> {
  const server = await grpcServer(environmentService, {
    Process(call: Call) {
      let i = 0;
      call.on('data', (request: wire.EnvironmentRequest) => answer(call, request, i++));
      call.on('error', () => {});
    },
  });
  cleanups.push(() => server.close());
  return server.address;
}

async function open(address: string, deadlineSeconds = 5): Promise<DmEnvRpcConnection> {
  const connection = await DmEnvRpcConnection.open({ address, deadlineSeconds });
  cleanups.push(() => connection.close());
  return connection;
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const fail = (call: Call, code: grpc.status, details: string) => call.emit('error', { code, details });

describe('a response that no request waits for', () => {
  it('ends the connection, because later ones would be shifted', async () => {
    const address = await serve((call) => {
      call.write(created);
      setTimeout(() => call.write(created), 20);
    });
    const connection = await open(address);
    await connection.send('createWorld', {});
    while (!connection.isLost) await pause(5);
    const next = connection.send('leaveWorld', {});
    await expect(next).rejects.toBeInstanceOf(OutOfStepError);
    await expect(next).rejects.toThrow(
      /the server sent a response that no request waits for\. Correct the server: it must send one response to each request/,
    );
  });

  it('is not taken for that of a request of another kind', async () => {
    const address = await serve((call) => {
      call.write(created);
      call.write(created);
    });
    const connection = await open(address);
    const sent = [connection.send('createWorld', {}), connection.send('leaveWorld', {})];
    await sent[0];
    await expect(sent[1]).rejects.toThrow(/the response to LeaveWorld is of another kind: createWorld/);
    await expect(sent[1]).rejects.toBeInstanceOf(OutOfStepError);
  });
});

describe('a stream that must be in step', () => {
  const step: wire.EnvironmentResponse = { step: { state: 1 } };
  /** Answers each step after `delay` milliseconds, and request `twice` a second time: just before the answer to the next one. */
  const late = (delay: number, twice?: number) => {
    let computed = Promise.resolve();
    return serve((call, _request, i) => {
      if (twice !== undefined && i === twice + 1) call.write(step);
      computed = computed.then(async () => {
        await pause(delay);
        call.write(step);
      });
    });
  };

  it('is found to be in step soon', async () => {
    const connection = await open(await late(5));
    for (let i = 0; i < 10; i++) await connection.send('step', {});
    const start = performance.now();
    await connection.requireInStep();
    expect(performance.now() - start).toBeLessThan(2000);
    await connection.send('step', {});
  });

  it('is found to be shifted by the answer that it still owes', async () => {
    const connection = await open(await late(60, 4));
    for (let i = 0; i < 10; i++) await connection.send('step', {});
    expect(connection.isLost).toBe(false);
    await expect(connection.requireInStep()).rejects.toBeInstanceOf(OutOfStepError);
    await expect(connection.requireInStep()).rejects.toThrow(/a response that no request waits for/);
  });

  it('is waited for while a request is pending, but not after a loss', async () => {
    const address = await serve((call, _request, i) => {
      if (i < 2) setTimeout(() => call.write(step), 200);
      else call.end();
    });
    const connection = await open(address);
    await connection.send('step', {});
    let answered = false;
    const pending = connection.send('step', {}).then(() => {
      answered = true;
    });
    await connection.requireInStep();
    expect(answered).toBe(true);
    await pending;
    await expect(connection.send('step', {})).rejects.toBeInstanceOf(ConnectionLostError);
    await connection.requireInStep();
  });
});

describe('a stream that ends with a status', () => {
  it.each([
    [
      grpc.status.INVALID_ARGUMENT,
      "unknown setting 'sed'",
      /the server refused CreateWorld: INVALID_ARGUMENT: unknown setting 'sed'/,
    ],
    [
      grpc.status.UNKNOWN,
      'Exception iterating responses: KeyError',
      /the server refused CreateWorld: UNKNOWN/,
    ],
    [grpc.status.INTERNAL, 'the solver\x1b[2J\ndiverged', /INTERNAL: the solver\\x1b\[2J\\ndiverged$/],
  ])('of a refusal (%i) is the error of the request', async (code, details, message) => {
    const connection = await open(await serve((call) => fail(call, code, details)));
    const refused = connection.send('createWorld', {});
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toBeInstanceOf(DmEnvRpcError);
    const next = connection.send('leaveWorld', {});
    await expect(next).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(next).rejects.toThrow(/ended the stream when it refused CreateWorld/);
  });

  it('of a request that the server lacks is not one of another protocol', async () => {
    const address = await serve((call, _request, i) =>
      i === 0 ? call.write(created) : fail(call, grpc.status.UNIMPLEMENTED, 'no Reset here'),
    );
    const connection = await open(address);
    await connection.send('createWorld', {});
    await expect(connection.send('reset', {})).rejects.toThrow(
      /the server refused Reset: UNIMPLEMENTED: no Reset here/,
    );
  });

  it.each([
    [grpc.status.UNAVAILABLE, 'shutting down'],
    [grpc.status.CANCELLED, 'cancelled'],
    [grpc.status.RESOURCE_EXHAUSTED, 'too many streams'],
  ])('of a broken connection (%i) is a loss', async (code, details) => {
    const connection = await open(await serve((call) => fail(call, code, details)));
    const lost = connection.send('createWorld', {});
    await expect(lost).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(lost).rejects.toThrow(new RegExp(`the connection was lost: ${details}`));
  });
});

describe('a request without an answer', () => {
  it('says how many streams this program has open, if the server answers the others', async () => {
    let streams = 0;
    const served = new Set<Call>();
    const address = await serve((call) => {
      if (served.size < 2) served.add(call);
      if (served.has(call)) call.write(created);
      streams += 1;
    });
    for (let i = 0; i < 2; i++) await (await open(address)).send('createWorld', {});
    const third = await open(address, 0.3);
    await expect(third.send('createWorld', {})).rejects.toThrow(
      /no answer to CreateWorld within 0\.3 s\. This program has 3 streams open to this server, which has answered 2 of them\. A server with one thread for each stream .*numEnvs.*environment\.envsPerStream.*deadlineSeconds/,
    );
    expect(streams).toBe(3);
    // A stream that has ended counts no more.
    const fourth = await open(address, 0.3);
    await expect(fourth.send('createWorld', {})).rejects.toThrow(/3 streams open/);
  });

  it('names the deadline, for a server that is only slow', async () => {
    const address = await serve((call, _request, i) => {
      if (i === 0) call.write(created);
      else setTimeout(() => call.write({ reset: {} }), 1000);
    });
    const connection = await open(address, 0.3);
    await connection.send('createWorld', {});
    await expect(connection.send('reset', {})).rejects.toThrow(
      /no answer to Reset within 0\.3 s\. Is the server still running there\? If it only needs longer for this, raise environment\.deadlineSeconds/,
    );
  });
});

describe('requests that wait for their turn', () => {
  it('are not sent after the connection was closed', async () => {
    let received = 0;
    const address = await serve((call) => {
      received += 1;
      call.write(created);
    });
    const connection = await open(address);
    const other = await open(address);
    const requests = Array.from({ length: 6 }, () => connection.send('createWorld', {}));
    connection.close();
    for (const { status } of await Promise.allSettled(requests)) expect(status).toBe('rejected');
    await other.send('createWorld', {});
    expect(received).toBeLessThanOrEqual(3);
  });

  it('are answered in order', async () => {
    let worlds = 0;
    const address = await serve((call) => call.write({ createWorld: { worldName: `${worlds++}` } }));
    const connection = await open(address);
    const requests = Array.from({ length: 9 }, () => connection.send('createWorld', {}));
    const names = (await Promise.all(requests)).map(({ worldName }) => worldName);
    expect(names).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8']);
  });
});

describe('the size of a message', () => {
  const worldName = 'x'.repeat(3 * 2 ** 20);
  const bytes = environmentService.Process.responseSerialize({ createWorld: { worldName } });

  /** A server that answers with one message, as it stands. */
  async function serveRaw(isCompressed: boolean, message: Buffer): Promise<string> {
    const head = Buffer.from([Number(isCompressed), 0, 0, 0, 0]);
    head.writeUInt32BE(message.length, 1);
    const server = createServer();
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' });
      stream.once('data', () => stream.write(Buffer.concat([head, message])));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => server.close());
    return `127.0.0.1:${(server.address() as { port: number }).port}`;
  }

  const open = async (address: string, maxMessageMegabytes: number) => {
    const connection = await DmEnvRpcConnection.open({ address, deadlineSeconds: 5, maxMessageMegabytes });
    cleanups.push(() => connection.close());
    return connection;
  };

  it.each([
    ['as it is sent', false, bytes, /a message is over the limit: Received message larger than max/],
    ['after decompression', true, gzipSync(bytes), /over the limit: Received message that decompresses/],
  ])('is limited %s', async (_what, isCompressed, message, why) => {
    const address = await serveRaw(isCompressed, message);
    const refused = (await open(address, 2)).send('createWorld', {});
    await expect(refused).rejects.toThrow(why);
    await expect(refused).rejects.toThrow(/Raise environment\.maxMessageMegabytes/);
    expect(await (await open(address, 4)).send('createWorld', {})).toEqual({ worldName });
  });
});
