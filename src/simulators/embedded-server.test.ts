import { describe, expect, it } from 'vitest';
import { startEmbeddedServer } from './embedded-server.js';

/** A worker thread that runs `code`. */
const entry = (code: string) =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads'; ${code}`)}`,
  );
const listens = "parentPort.postMessage({ address: '127.0.0.1:1' });";

describe('the embedded server', () => {
  it('fails to start with the error of its worker', async () => {
    await expect(startEmbeddedServer({ entry: entry("throw new Error('no wasm here');") })).rejects.toThrow(
      'embedded simulator server: it crashed: no wasm here',
    );
    await expect(startEmbeddedServer({ entry: entry('process.exit(3);') })).rejects.toThrow(
      'it ended by itself with code 3',
    );
  });

  it('tells onCrash of a later crash', async () => {
    const crashes = entry(`${listens} setTimeout(() => { throw new Error('out of memory'); }, 50);`);
    const error = await new Promise<Error>((resolve, reject) => {
      startEmbeddedServer({ entry: crashes, onCrash: resolve }).catch(reject);
    });
    expect(error.message).toBe('embedded simulator server: it crashed: out of memory');
  });

  it('tells of a later crash when it is closed, if nobody was told before', async () => {
    const dies = entry(`${listens} parentPort.once('message', () => { throw new Error('out of memory'); });`);
    const server = await startEmbeddedServer({ entry: dies });
    await expect(server.close()).rejects.toThrow('it crashed: out of memory');
  });

  it('closes twice without complaint', async () => {
    const server = await startEmbeddedServer({
      entry: entry(`${listens} parentPort.once('message', () => parentPort.close());`),
    });
    await server.close();
    await server.close();
  });
});
