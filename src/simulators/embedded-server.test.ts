import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { environmentService } from '../dm-env-rpc/codec/messages.js';
import { packSetting } from '../dm-env-rpc/codec/settings.js';
import type * as wire from '../generated/dm-env-rpc.js';
import { startEmbeddedServer } from './embedded-server.js';

/** A worker thread that runs `code`. */
const entry = (code: string) =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads'; ${code}`)}`,
  );
const listens = "parentPort.postMessage({ address: '127.0.0.1:1' });";

/** One dm_env_rpc stream: a request, then its answer. */
function connect(address: string) {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = environmentService.Process;
  const stream = client.makeBidiStreamRequest<wire.EnvironmentRequest, wire.EnvironmentResponse>(
    path,
    requestSerialize as (value: wire.EnvironmentRequest) => Buffer,
    responseDeserialize as (bytes: Buffer) => wire.EnvironmentResponse,
    { deadline: Date.now() + 30_000 },
  );
  return {
    ask: (request: wire.EnvironmentRequest) =>
      new Promise<wire.EnvironmentResponse>((resolve, reject) => {
        stream.once('data', resolve).once('error', reject);
        stream.write(request);
      }),
    close: () => client.close(),
  };
}

describe('the embedded server', () => {
  it('serves simulators over a socket, with the settings of each world', async () => {
    const server = await startEmbeddedServer();
    expect(server.address).toMatch(/^127\.0\.0\.1:\d+$/);
    const { ask, close } = connect(server.address);
    const refused = await ask({ createWorld: { settings: { simulator: packSetting('walker') } } });
    expect(refused.error?.message).toContain("unknown simulator 'walker'");
    const unknown = await ask({ createWorld: { settings: { gravity: packSetting(0) } } });
    expect(unknown.error?.message).toContain("unknown setting 'gravity'");
    const settings = {
      simulator: packSetting('reacher'),
      episodeSteps: packSetting(2),
      seed: packSetting(1),
    };
    const { createWorld } = await ask({ createWorld: { settings } });
    const { joinWorld } = await ask({ joinWorld: { worldName: createWorld?.worldName } });
    const names = Object.values(joinWorld?.specs?.observations ?? {}).map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(['position', 'to_target', 'velocity', 'reward', 'discount']),
    );
    const states: (number | undefined)[] = [];
    for (let i = 0; i < 4; i++) states.push((await ask({ step: {} })).step?.state);
    // Running, running, interrupted at the time limit; the step after that starts the next episode.
    expect(states).toEqual([1, 1, 3, 1]);
    close();
    await server.close();
  });

  it('fails to start with the error of its worker', async () => {
    await expect(startEmbeddedServer({ entry: entry("throw new Error('no wasm here');") })).rejects.toThrow(
      'embedded simulator server: it crashed: no wasm here',
    );
    await expect(startEmbeddedServer({ entry: entry('process.exit(3);') })).rejects.toThrow(
      'it ended unexpectedly with code 3',
    );
  });

  it('reports a later crash to onCrash', async () => {
    const crashes = entry(`${listens} setTimeout(() => { throw new Error('out of memory'); }, 50);`);
    const error = await new Promise<Error>((resolve, reject) => {
      startEmbeddedServer({ entry: crashes, onCrash: resolve }).catch(reject);
    });
    expect(error.message).toBe('embedded simulator server: it crashed: out of memory');
  });

  it('reports a later crash when it is closed, without onCrash', async () => {
    const dies = entry(`${listens} parentPort.once('message', () => { throw new Error('out of memory'); });`);
    const server = await startEmbeddedServer({ entry: dies });
    await expect(server.close()).rejects.toThrow('it crashed: out of memory');
  });

  it('can be closed twice', async () => {
    const server = await startEmbeddedServer({
      entry: entry(`${listens} parentPort.once('message', () => parentPort.close());`),
    });
    await server.close();
    await server.close();
  });
});
