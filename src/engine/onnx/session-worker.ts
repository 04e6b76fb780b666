import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { NumberedRequest, Numbers, Reply, Request, SessionSettings } from './program.js';
import { SessionRunner } from './session-runner.js';

/**
 * The worker thread that runs long graphs. It answers requests one at a time, in the order of their arrival, except that calls of a
 * repeated program which wait one behind another are made in one run: that saves moving the variables in and out of ONNX Runtime between
 * them, and gives the same numbers.
 */

/** The most calls in one run: the time that it saves grows little beyond, and the memory for inputs and outputs does. */
const maxCalls = 16;

type Run = NumberedRequest & { readonly request: Extract<Request, { kind: 'run' }> };

const port = parentPort!;
const runner = new SessionRunner(workerData as SessionSettings);
const waiting: NumberedRequest[] = [];
let isServing = false;

const isRun = (message: NumberedRequest | undefined): message is Run => message?.request.kind === 'run';

/** The first request that waits and, if it is a call of a repeated program, the calls of that program right behind it. */
function takeNext(): readonly NumberedRequest[] {
  // What arrived while the last request was answered.
  for (let got = receiveMessageOnPort(port); got !== undefined; got = receiveMessageOnPort(port)) {
    waiting.push(got.message as NumberedRequest);
  }
  const [first] = waiting;
  if (!isRun(first) || !runner.isRepeated(first.request.program)) return waiting.splice(0, 1);
  const { program } = first.request;
  const end = waiting.findIndex((other) => !isRun(other) || other.request.program !== program);
  return waiting.splice(0, Math.min(maxCalls, end < 0 ? waiting.length : end));
}

function reply(sequence: number, arrays: readonly Numbers[]): void {
  const message: Reply = { sequence, arrays };
  port.postMessage(
    message,
    arrays.map((array) => array.buffer as ArrayBuffer),
  );
}

async function answer(messages: readonly NumberedRequest[]): Promise<void> {
  try {
    const [first] = messages;
    if (!isRun(first)) {
      reply(first!.sequence, await runner.handle(first!.request));
      return;
    }
    const calls = messages.filter(isRun);
    const results = await runner.runCalls(
      first.request.program,
      calls.map(({ request }) => request.inputs),
    );
    for (const [i, { sequence }] of calls.entries()) reply(sequence, results[i]!);
  } catch (error) {
    if (messages.length > 1) {
      // A run that fails changes nothing, so each call fails or succeeds as it does alone.
      for (const message of messages) await answer([message]);
      return;
    }
    const text = error instanceof Error ? error.message : String(error);
    for (const { sequence } of messages) port.postMessage({ sequence, error: text } satisfies Reply);
  }
}

async function serve(): Promise<void> {
  isServing = true;
  for (let next = takeNext(); next.length > 0; next = takeNext()) await answer(next);
  isServing = false;
}

port.on('message', (message: NumberedRequest) => {
  waiting.push(message);
  if (!isServing) void serve();
});
