import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { countingEnvironment } from '../../test/support/counting-environment.js';
import { DmEnvRpcConnection } from '../dm-env-rpc/client/connection.js';
import { serveEnvironments } from '../dm-env-rpc/server/serve-environments.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A proxy that hears what clients ask of it, and refuses. */
async function refusingProxy(): Promise<readonly string[]> {
  const asked: string[] = [];
  const proxy = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes) => {
      asked.push(String(bytes).split('\r\n')[0]);
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => proxy.close());
  const { port } = proxy.address() as { port: number };
  for (const name of ['http_proxy', 'https_proxy', 'grpc_proxy']) {
    vi.stubEnv(name, `http://127.0.0.1:${port}`);
  }
  for (const name of ['no_proxy', 'no_grpc_proxy']) vi.stubEnv(name, '');
  return asked;
}

describe('a proxy in the environment', () => {
  it.each(['127.0.0.1', 'localhost'])('is not used for %s', async (host) => {
    const asked = await refusingProxy();
    const server = await serveEnvironments({ createEnvironment: async () => countingEnvironment() });
    cleanups.push(() => server.close());
    const address = `${host}:${server.address.split(':')[1]}`;
    const connection = await DmEnvRpcConnection.open({ address, deadlineSeconds: 5 });
    cleanups.push(() => connection.close());
    expect(await connection.send('createWorld', {})).toHaveProperty('worldName');
    expect(asked).toEqual([]);
  });

  it('is used for other machines, and named when it refuses', async () => {
    const asked = await refusingProxy();
    // An address that is reserved for documentation.
    const opening = DmEnvRpcConnection.open({ address: '192.0.2.1:9000', deadlineSeconds: 2 });
    await expect(opening).rejects.toThrow(
      /192\.0\.2\.1:9000: no server answers there through the proxy of grpc_proxy.*no_proxy/,
    );
    expect(asked[0]).toBe('CONNECT 192.0.2.1:9000 HTTP/1.1');
  });
});
