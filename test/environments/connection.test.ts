import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ConnectionLostError } from '../../src/core/errors.js';
import { DmEnvRpcConnection } from '../../src/dm-env-rpc/client/connection.js';
import { serveEnvironments } from '../../src/dm-env-rpc/server/serve-environments.js';
import { countingEnvironment } from '../support/counting-environment.js';
import { folderFor } from './run.js';
import { cuttableWay, scriptedServer, socketServer } from './servers.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function connectThroughWay(keepaliveSeconds: number | undefined) {
  const server = await serveEnvironments({ createEnvironment: async () => countingEnvironment() });
  cleanups.push(() => server.close());
  const way = await cuttableWay(server.address);
  cleanups.push(() => way.close());
  const connection = await DmEnvRpcConnection.open({
    address: way.address,
    deadlineSeconds: 2,
    keepaliveSeconds,
  });
  cleanups.push(() => connection.close());
  await connection.send('createWorld', {});
  way.cut();
  return connection;
}

describe('a peer that disappears silently', () => {
  it('is noticed by keepalive while no request is pending', async () => {
    const connection = await connectThroughWay(0.1);
    await pause(2000);
    // The message of a missed deadline would be another.
    await expect(connection.send('createWorld', {})).rejects.toThrow(/the connection was lost/);
  });

  it('is otherwise noticed at the deadline of the next request', async () => {
    const connection = await connectThroughWay(undefined);
    await expect(connection.send('createWorld', {})).rejects.toThrow(/no answer to CreateWorld within 2 s/);
  });
});

describe('a connection', () => {
  it('may use a Unix socket', async () => {
    const folder = await folderFor('socket');
    cleanups.push(() => folder.remove());
    const server = await scriptedServer(() => () => ({ createWorld: { worldName: 'w' } }), {
      listenOn: `unix:${join(folder.path, 's')}`,
    });
    cleanups.push(() => server.close());
    const connection = await DmEnvRpcConnection.open({ address: server.address, deadlineSeconds: 5 });
    cleanups.push(() => connection.close());
    expect(await connection.send('createWorld', {})).toMatchObject({ worldName: 'w' });
  });

  it('stops connecting when aborted', async () => {
    const server = await socketServer(() => {});
    cleanups.push(() => server.close());
    const stop = new AbortController();
    const opening = DmEnvRpcConnection.open({
      address: server.address,
      deadlineSeconds: 3600,
      signal: stop.signal,
    });
    stop.abort();
    await expect(opening).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(opening).rejects.toThrow(/stopped while connecting/);
  });

  it('fails all pending requests when it is closed', async () => {
    const server = await scriptedServer(() => () => undefined);
    cleanups.push(() => server.close());
    const connection = await DmEnvRpcConnection.open({ address: server.address, deadlineSeconds: 3600 });
    const asked = [connection.send('createWorld', {}), connection.send('leaveWorld', {})];
    connection.close();
    for (const answer of asked) await expect(answer).rejects.toThrow(/the connection was closed/);
  });
});
