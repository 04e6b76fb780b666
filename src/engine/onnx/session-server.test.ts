import { describe, expect, it } from 'vitest';
import type { NumberedRequest, Numbers, Reply, Request } from './program.js';
import { maxCalls, type ServerPort, SessionServer } from './session-server.js';

/** Requests on the side of the worker thread: which of them are made in one run, and that each gets one reply. */

const [repeated, other, single] = [0, 1, 2];
const bad = -1;

/** A runner whose only variable is a sum: a call adds its input to it and returns it. A run with a bad input fails and changes nothing. */
function summing() {
  const runs: (readonly [program: number, calls: number])[] = [];
  let sum = 0;
  const runner = {
    isRepeated: (program: number) => program !== single,
    handle: async ({ kind }: Request): Promise<readonly Numbers[]> => {
      if (kind === 'unload') throw new Error('not loaded');
      return kind === 'read' ? [Float32Array.of(sum)] : [];
    },
    runCalls: async (program: number, calls: readonly (readonly Numbers[])[]) => {
      runs.push([program, calls.length]);
      const added = calls.map(([input]) => input![0]!);
      if (added.includes(bad)) throw new Error('bad input');
      return added.map((x) => {
        sum += x;
        return [Float32Array.of(sum)];
      });
    },
  };
  return { runner, runs, sum: () => sum };
}

const call = (program: number, input = 1): Request => ({
  kind: 'run',
  program,
  inputs: [Float32Array.of(input)],
});
const read: Request = { kind: 'read', variables: [0] };

/** Serves requests of which all have arrived when the first is delivered. */
async function serve(requests: readonly Request[], refused: (reply: Reply) => boolean = () => false) {
  const { runner, runs, sum } = summing();
  const arrived: NumberedRequest[] = requests.map((request, sequence) => ({ sequence, request }));
  const replies: (readonly [sequence: number, answer: number | string | undefined])[] = [];
  const port: ServerPort = {
    receive: () => arrived.shift(),
    post: (reply, transfer) => {
      if (refused(reply)) throw new Error('cannot be sent');
      expect(transfer).toEqual((reply.arrays ?? []).map(({ buffer }) => buffer));
      replies.push([reply.sequence, reply.error ?? reply.arrays?.[0]?.[0]]);
    },
  };
  await new SessionServer(runner, port).accept(arrived.shift()!);
  return { runs, replies, sum: sum() };
}

describe('requests that wait', () => {
  it('are made in one run if they are calls of one repeated program, up to a number', async () => {
    const count = maxCalls + 1;
    const { runs, replies } = await serve(Array.from({ length: count }, () => call(repeated)));
    expect(runs).toEqual([
      [repeated, maxCalls],
      [repeated, 1],
    ]);
    expect(replies).toEqual(Array.from({ length: count }, (_, i) => [i, i + 1]));
  });

  it('keep their order, and other requests stand between calls', async () => {
    const requests = [
      ...[call(repeated), call(repeated), read, call(repeated)],
      ...[call(other), call(other), call(single), call(single)],
    ];
    const { runs, replies } = await serve(requests);
    expect(runs).toEqual([
      [repeated, 2],
      [repeated, 1],
      [other, 2],
      [single, 1],
      [single, 1],
    ]);
    // The third reads what the two before it have left.
    expect(replies).toEqual([1, 2, 2, 3, 4, 5, 6, 7].map((answer, i) => [i, answer]));
  });

  it('are taken while others are answered', async () => {
    const { runner, runs } = summing();
    const late: NumberedRequest[] = [];
    const replies: number[] = [];
    const server = new SessionServer(
      {
        ...runner,
        runCalls: async (program, calls) => {
          // Two calls arrive during the first run, one of them delivered.
          if (runs.length === 0) {
            late.push({ sequence: 2, request: call(repeated) });
            void server.accept({ sequence: 1, request: call(repeated) });
          }
          return runner.runCalls(program, calls);
        },
      },
      { receive: () => late.shift(), post: ({ sequence }) => replies.push(sequence) },
    );
    await server.accept({ sequence: 0, request: call(repeated) });
    expect(runs.map(([, calls]) => calls)).toEqual([1, 2]);
    expect(replies).toEqual([0, 1, 2]);
  });
});

describe('a failure', () => {
  it('of a run of several calls is that of the calls which fail alone', async () => {
    const { runs, replies, sum } = await serve([1, 2, bad, 4].map((input) => call(repeated, input)));
    expect(runs.map(([, calls]) => calls)).toEqual([4, 1, 1, 1, 1]);
    expect(replies).toEqual([
      [0, 1],
      [1, 3],
      [2, 'bad input'],
      [3, 7],
    ]);
    expect(sum).toBe(7);
  });

  it('of another request is its answer', async () => {
    const { replies } = await serve([{ kind: 'unload', program: 9 }, call(single)]);
    expect(replies).toEqual([
      [0, 'not loaded'],
      [1, 1],
    ]);
  });

  it('to send a reply makes no call again, and is the answer', async () => {
    const { runs, replies, sum } = await serve(
      [1, 2, 4].map((input) => call(repeated, input)),
      ({ sequence, arrays }) => sequence === 1 && arrays !== undefined,
    );
    expect(runs).toEqual([[repeated, 3]]);
    expect(sum).toBe(7);
    expect(replies).toEqual([
      [0, 1],
      [1, 'cannot be sent'],
      [2, 7],
    ]);
  });
});
