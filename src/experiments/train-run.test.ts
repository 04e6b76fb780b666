import { createServer, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { temporaryFolder, tinyConfig, writeConfig } from '../../test/end-to-end/program.js';
import { type LoadedConfig, loadJob } from '../config/load.js';
import { trainRun } from './train-run.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

it('says that the engine is missing without waiting for a server that does not answer', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => sockets.add(socket));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const folder = await temporaryFolder();
  cleanups.push(() => folder.remove());
  const { port } = silent.address() as { port: number };
  const config = {
    ...tinyConfig(folder.path),
    engine: 'tfjs-node-gpu',
    // Longer than a test may take.
    environment: { address: `127.0.0.1:${port}`, simulator: 'any', deadlineSeconds: 600 },
  };
  const loaded = (await loadJob(await writeConfig(folder.path, 'config.yaml', config), [])) as LoadedConfig;
  const run = trainRun({ loaded, progressMode: 'quiet', command: 'pmpo train' });
  await expect(run).rejects.toThrow(/tfjs-node-gpu/);
});
