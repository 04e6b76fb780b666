import { parentPort, workerData } from 'node:worker_threads';
import type { NumberedRequest, Reply, SessionSettings } from './program.js';
import { SessionRunner } from './session-runner.js';

/** The worker thread that runs long graphs. It answers requests one at a time, in the order of their arrival. */

const port = parentPort!;
const runner = new SessionRunner(workerData as SessionSettings);
let last = Promise.resolve();

async function answer({ sequence, request }: NumberedRequest): Promise<void> {
  try {
    const arrays = await runner.handle(request);
    const reply: Reply = { sequence, arrays };
    port.postMessage(
      reply,
      arrays.map((array) => array.buffer as ArrayBuffer),
    );
  } catch (error) {
    const reply: Reply = { sequence, error: error instanceof Error ? error.message : String(error) };
    port.postMessage(reply);
  }
}

port.on('message', (message: NumberedRequest) => {
  last = last.then(() => answer(message));
});
