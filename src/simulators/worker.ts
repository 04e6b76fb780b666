import { parentPort } from 'node:worker_threads';
import type { WorkerMessage } from './embedded-server.js';
import { serveSimulators } from './serve.js';

if (parentPort === null) throw new Error('this module is the entry of a worker thread');
const port = parentPort;
const server = await serveSimulators({ host: '127.0.0.1', port: 0 });
port.once('message', async () => {
  await server.close();
  // The port would keep the thread alive.
  port.close();
});
port.postMessage({ address: server.address } satisfies WorkerMessage);
