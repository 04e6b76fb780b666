import { parentPort, workerData } from 'node:worker_threads';
import type { LivePageMessage, LiveWorkerData } from './live-page.js';
import { startLiveServer } from './server.js';

if (parentPort === null) throw new Error('this module is the entry of a worker thread');
const port = parentPort;
const { folder, port: wanted } = workerData as LiveWorkerData;
const send = (message: LivePageMessage) => port.postMessage(message);
try {
  const server = await startLiveServer({
    folder,
    port: wanted,
    onCommand: (command) => send({ kind: 'command', command }),
  });
  port.on('message', async () => {
    await server.end();
    port.close();
  });
  send({ kind: 'serving', url: server.url });
} catch (error) {
  send({ kind: 'failed', message: (error as Error).message });
  port.close();
}
