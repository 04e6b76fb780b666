import type { NumberedRequest, Numbers, Reply, Request } from './program.js';
import type { SessionRunner } from './session-runner.js';

/** The most calls in one run. With more of them a run saves hardly more time, but needs memory for the inputs and outputs of each. */
export const maxCalls = 16;

/** The worker thread's end of the channel. */
export interface ServerPort {
  /** A message that has arrived and has not been delivered yet. */
  receive(): NumberedRequest | undefined;
  /** @throws if the message cannot be sent, and has then sent nothing. */
  post(reply: Reply, transfer: readonly ArrayBuffer[]): void;
}

type Run = NumberedRequest & { readonly request: Extract<Request, { kind: 'run' }> };

const isRun = (message: NumberedRequest | undefined): message is Run => message?.request.kind === 'run';

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Answers requests one at a time, in the order of their arrival, except that calls of a repeated program which wait one behind another are
 * made in one run: that saves moving the variables in and out of ONNX Runtime between them, and gives the same numbers. Each request gets
 * one reply.
 */
export class SessionServer {
  readonly #runner: Pick<SessionRunner, 'handle' | 'isRepeated' | 'runCalls'>;
  readonly #port: ServerPort;
  readonly #waiting: NumberedRequest[] = [];
  #isServing = false;

  constructor(runner: Pick<SessionRunner, 'handle' | 'isRepeated' | 'runCalls'>, port: ServerPort) {
    this.#runner = runner;
    this.#port = port;
  }

  /** Takes a request that has been delivered. It resolves when no request waits any more, or at once if others are being answered. */
  async accept(message: NumberedRequest): Promise<void> {
    this.#waiting.push(message);
    if (this.#isServing) return;
    this.#isServing = true;
    for (let next = this.#takeNext(); next.length > 0; next = this.#takeNext()) await this.#answer(next);
    this.#isServing = false;
  }

  /** The first request that waits and, if it is a call of a repeated program, the calls of that program right behind it. */
  #takeNext(): readonly NumberedRequest[] {
    const waiting = this.#waiting;
    // Requests may have arrived while the last one was answered.
    for (let got = this.#port.receive(); got !== undefined; got = this.#port.receive()) waiting.push(got);
    const [first] = waiting;
    if (!isRun(first) || !this.#runner.isRepeated(first.request.program)) return waiting.splice(0, 1);
    const { program } = first.request;
    const end = waiting.findIndex((other) => !isRun(other) || other.request.program !== program);
    return waiting.splice(0, Math.min(maxCalls, end < 0 ? waiting.length : end));
  }

  async #answer(messages: readonly NumberedRequest[]): Promise<void> {
    let results: readonly (readonly Numbers[])[];
    try {
      results = await this.#resultsOf(messages);
    } catch (error) {
      // A run that fails changes nothing, so each call fails or succeeds as it does alone.
      if (messages.length > 1) for (const message of messages) await this.#answer([message]);
      else this.#post({ sequence: messages[0]!.sequence, error: textOf(error) });
      return;
    }
    // The variables have changed by now: if a reply cannot be sent, its call must not be made again.
    for (const [i, { sequence }] of messages.entries()) this.#post({ sequence, arrays: results[i]! });
  }

  async #resultsOf(messages: readonly NumberedRequest[]): Promise<readonly (readonly Numbers[])[]> {
    const [first] = messages;
    if (!isRun(first)) return [await this.#runner.handle(first!.request)];
    const inputs = messages.filter(isRun).map(({ request }) => request.inputs);
    return this.#runner.runCalls(first.request.program, inputs);
  }

  /** Sends a reply or, if that is impossible, the reason. */
  #post(reply: Reply): void {
    try {
      this.#port.post(
        reply,
        (reply.arrays ?? []).map((array) => array.buffer as ArrayBuffer),
      );
    } catch (error) {
      this.#port.post({ sequence: reply.sequence, error: textOf(error) }, []);
    }
  }
}
