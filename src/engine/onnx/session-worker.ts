import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { NumberedRequest, SessionSettings } from './program.js';
import { SessionRunner } from './session-runner.js';
import { SessionServer } from './session-server.js';

/** The worker thread that runs long graphs and keeps the variables. */

const port = parentPort!;
const server = new SessionServer(new SessionRunner(workerData as SessionSettings), {
  receive: () => receiveMessageOnPort(port)?.message as NumberedRequest | undefined,
  post: (reply, transfer) => port.postMessage(reply, [...transfer]),
});

port.on('message', (message: NumberedRequest) => void server.accept(message));
