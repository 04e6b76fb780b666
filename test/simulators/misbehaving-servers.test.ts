import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { PmpoError } from '../../src/core/errors.js';
import { connectOverSharedStreams } from '../../src/dm-env-rpc/client/shared-streams.js';
import { environmentService } from '../../src/dm-env-rpc/codec/messages.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type * as wire from '../../src/generated/dm-env-rpc.js';
import { grpcServer, type TestServer } from '../environments/servers.js';

/**
 * A server that misbehaves in many ways, and a vector environment on it. The server echoes each action in the observation and in the
 * reward, so that every transition can be checked: none may be wrong, nothing may hang, and each way is said in one line.
 */

/** Short where the server is silent, and longer than anything takes on a busy machine where it is not. */
const deadlines = { silent: 1, other: 20 };
const numEnvs = 2;

let server: TestServer | undefined;
afterEach(() => {
  server?.close();
  server = undefined;
});

type Response = wire.EnvironmentResponse;
type Stream = grpc.ServerDuplexStream<wire.EnvironmentRequest, Buffer>;
type Kind = 'createWorld' | 'joinWorld' | 'reset' | 'step';

/** What the server sends for a request, in order; a number of milliseconds is a pause. */
type Sent = readonly (Response | Buffer | number)[];

/** One way to misbehave. */
interface Way {
  /** The request that is answered badly, and what is sent; undefined: the usual response. */
  readonly at: Kind;
  readonly send: (usual: Response, stream: Stream) => Sent | undefined;
  /** The first bad step of each stream; 0 is the one that begins the first episode. Default: 5. */
  readonly from?: number;
  /** The number of bad responses; default: no limit. */
  readonly times?: number;
  /** The specs of the world; default: the usual ones. */
  readonly specs?: wire.ActionObservationSpecs;
  /** Milliseconds between two steps of the client, as a policy takes them. */
  readonly thinking?: number;
  /** The message of the error that ends the run, or of the first notice if the run goes on. */
  readonly says: RegExp;
  readonly goesOn?: true;
}

const floats = (...array: number[]) => ({ floats: { array }, shape: [array.length] });
const doubles = (...array: number[]) => ({ doubles: { array } });
const spec = (name: string, dtype: number, shape: number[] = [], more: wire.TensorSpec = {}) => ({
  name,
  dtype,
  shape,
  ...more,
});
const [float, double, string] = [1, 2, 10];
const bounds = (min: number[], max: number[]) => ({ min: doubles(...min), max: doubles(...max) });

const actions = { '1': spec('push', double, [1], bounds([-1], [1])) };
const observations = {
  '1': spec('state', float, [3]),
  '2': spec('reward', double),
  '3': spec('discount', double),
};
const specs: wire.ActionObservationSpecs = { actions, observations };

const encode = environmentService.Process.responseSerialize as (response: Response) => Buffer;
const rawService: grpc.ServiceDefinition = {
  Process: { ...environmentService.Process, responseSerialize: (bytes: Buffer) => bytes },
};

async function serve(way: Way): Promise<TestServer> {
  const { at, send, from = 5, times = Number.POSITIVE_INFINITY, specs: offered = specs } = way;
  // Numbers in the precision of the spec, so that the same script serves both.
  const isDouble = offered.observations?.['1']?.dtype === double;
  const vector = (...array: number[]): wire.Tensor =>
    isDouble ? { doubles: { array }, shape: [array.length] } : floats(...array);
  let bad = 0;
  const process = (stream: Stream) => {
    let t = 0;
    const usual = (request: wire.EnvironmentRequest): Response => {
      if (request.createWorld) return { createWorld: { worldName: 'w' } };
      if (request.joinWorld) return { joinWorld: { specs: offered } };
      if (request.reset) return { reset: { specs: offered } };
      if (request.leaveWorld) return { leaveWorld: {} };
      if (request.destroyWorld) return { destroyWorld: {} };
      const action = [...(request.step?.actions?.['1']?.doubles?.array ?? [0])][0];
      const state = t % 8 === 7 ? 3 : 1;
      const values = { '1': vector(t, action, 7), '2': doubles(action), '3': doubles(1) };
      return { step: { state, observations: values } };
    };
    stream.on('error', () => {});
    stream.on('end', () => stream.end());
    stream.on('data', async (request: wire.EnvironmentRequest) => {
      const response = usual(request);
      const isDue = request[at] && (at !== 'step' || t >= from) && bad < times;
      const sent = (isDue ? send(response, stream) : undefined) ?? [response];
      if (isDue) bad += 1;
      if (request.step) t += 1;
      for (const one of sent) {
        if (typeof one === 'number') await new Promise((resolve) => setTimeout(resolve, one));
        else stream.write(Buffer.isBuffer(one) ? one : encode(one));
      }
    });
  };
  return grpcServer(rawService, { Process: process });
}

const isSilent = ({ says }: Way) => says.source.startsWith('no answer');

/** Plays 30 steps, and checks each transition against the action that led to it. */
async function play(way: Way) {
  server = await serve(way);
  const { address } = server;
  const deadlineSeconds = isSilent(way) ? deadlines.silent : deadlines.other;
  const notices: string[] = [];
  let [transitions, lost] = [0, 0];
  let error: unknown;
  const start = Date.now();
  try {
    const vector = await createVectorEnvironment({
      numEnvs,
      connect: connectOverSharedStreams({
        numEnvs,
        envsPerStream: 1,
        optionsOf: () => ({ address, deadlineSeconds, maxMessageMegabytes: 1, reuseArrays: true }),
      }),
      episodeSeed: (k, episode) => 100 * k + episode,
      reconnect: { attempts: 2, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
      notice: (message) => notices.push(message),
    });
    try {
      await vector.reset();
      for (let t = 0; t < 30; t++) {
        const given = Float32Array.from({ length: numEnvs }, (_, k) => Math.sin(1 + t + 31 * k));
        if (way.thinking !== undefined) await new Promise((resolve) => setTimeout(resolve, way.thinking));
        const step = await vector.step(given);
        for (let k = 0; k < numEnvs; k++) {
          lost += step.lost[k];
          if (step.lost[k] === 1) continue;
          transitions += 1;
          expect([step.nextObservations[3 * k + 1], step.nextObservations[3 * k + 2]]).toEqual([given[k], 7]);
          expect(step.rewards[k]).toBeCloseTo(given[k], 6);
          expect(step.discounts[k]).toBe(1);
        }
      }
    } finally {
      await vector.close();
    }
  } catch (cause) {
    error = cause;
  }
  return { error, notices, transitions, lost, seconds: (Date.now() - start) / 1000 };
}

const others = (usual: Response, changed: Record<string, wire.Tensor>): Response => ({
  step: { ...usual.step, observations: { ...usual.step!.observations, ...changed } },
});
const state = (tensor: wire.Tensor) => (usual: Response) => [others(usual, { '1': tensor })];
const reward = (value: number) => (usual: Response) => [others(usual, { '2': doubles(value) })];
const discount = (value: number) => (usual: Response) => [others(usual, { '3': doubles(value) })];
const ofState = (number: number) => (usual: Response) => [{ step: { ...usual.step, state: number } }];
const without = (uid: string) => (usual: Response) => {
  const { [uid]: _, ...rest } = usual.step!.observations!;
  return [{ step: { ...usual.step, observations: rest } }];
};
const joining = (changed: wire.ActionObservationSpecs) => () => [
  { joinWorld: { specs: { ...specs, ...changed } } },
];
const observing = (observed: wire.TensorSpec) =>
  joining({ observations: { ...observations, '1': observed } });
const acting = (action: wire.TensorSpec) => joining({ actions: { '1': action } });
const status = (code: grpc.status, details: string) => (_usual: Response, stream: Stream) => {
  stream.emit('error', { code, details });
  return [];
};
const hack = `bad \x1b[2J\x1b[31mHACK\nsecond line\r\u202e${'A'.repeat(100_000)}`;
const repeated = (response: Response, times: number): Sent => Array(times).fill(response);

const ways: Record<string, Way> = {
  // CreateWorld
  'no answer to CreateWorld': {
    at: 'createWorld',
    send: () => [],
    says: /no answer to CreateWorld within 1 s/,
  },
  'two answers to CreateWorld': {
    at: 'createWorld',
    send: (usual) => [usual, usual],
    says: /no request waits for|of another kind: createWorld/,
  },
  'a flood of answers to CreateWorld': {
    at: 'createWorld',
    send: (usual) => repeated(usual, 2000),
    says: /no request waits for|of another kind: createWorld/,
  },
  'a name of 5,000 characters for a world': {
    at: 'createWorld',
    send: () => [{ createWorld: { worldName: 'w\x1b[2J'.repeat(1000) } }],
    says: /the server named the world with 5000 characters/,
  },
  'an error that takes over the terminal': {
    at: 'createWorld',
    send: () => [{ error: { code: 13, message: hack } }],
    says: /refused CreateWorld: INTERNAL: bad \\x1b\[2J\\x1b\[31mHACK\\nsecond line\\r\\u\{202e\}A+… \(100,/,
  },
  'a status that refuses': {
    at: 'createWorld',
    send: status(grpc.status.INVALID_ARGUMENT, "unknown setting 'x'"),
    says: /the server refused CreateWorld: INVALID_ARGUMENT: unknown setting 'x'$/,
  },
  'an answer to LeaveWorld': {
    at: 'createWorld',
    send: () => [{ leaveWorld: {} }],
    says: /the response to CreateWorld is of another kind: leaveWorld/,
  },
  'bytes that are no message': {
    at: 'createWorld',
    send: () => [Buffer.from('no such message')],
    says: /the server's messages are not dm_env_rpc v1/,
  },
  'a message without content': {
    at: 'createWorld',
    send: () => [Buffer.alloc(0)],
    says: /the response to CreateWorld is of another kind: nothing/,
  },
  // JoinWorld
  '5,000 observations': {
    at: 'joinWorld',
    send: joining({
      observations: Object.fromEntries(
        Array.from({ length: 5000 }, (_, i) => [String(i + 1), spec(`o${i}`, float)]),
      ),
    }),
    says: /the server offers 5000 observations, and a world may have 4096/,
  },
  'an observation of 10⁹ elements': {
    at: 'joinWorld',
    send: observing(spec('state', float, [10 ** 9])),
    says: /the observations of a step take 3,815 MB.*'state' has the shape \[1000000000\]/,
  },
  'an action of 10⁹ elements': {
    at: 'joinWorld',
    send: acting(spec('push', double, [10 ** 9], bounds([-1], [1]))),
    says: /its actions have 1000000000 elements, and may have 262144/,
  },
  'two axes of any length': {
    at: 'joinWorld',
    send: observing(spec('state', float, [-1, -1])),
    says: /the spec 'state' has the shape \[-1,-1\]/,
  },
  'a hundred axes': {
    at: 'joinWorld',
    send: observing(spec('state', float, Array(100).fill(1))),
    says: /100 axes/,
  },
  'an unknown dtype': {
    at: 'joinWorld',
    send: observing(spec('state', 99)),
    says: /the unknown data type 99/,
  },
  'an observation named __proto__': {
    at: 'joinWorld',
    send: observing(spec('__proto__', float, [3])),
    says: /one of its observations is named '__proto__'/,
  },
  'a name of a million characters': {
    at: 'joinWorld',
    send: observing(spec('\x1b]0;x\x07'.repeat(150_000).slice(0, 900_000), float)),
    says: /the spec '\\x1b\]0;x\\x07.*… \(900,000 characters\)' has a name of more than 256 characters/,
  },
  'two observations of one name': {
    at: 'joinWorld',
    send: joining({ observations: { ...observations, '4': spec('state', float, [3]) } }),
    says: /two of its observations are named 'state'/,
  },
  'no reward': {
    at: 'joinWorld',
    send: joining({ observations: { '1': observations['1'] } }),
    says: /has no observation named reward/,
  },
  'a reward of three numbers': {
    at: 'joinWorld',
    send: joining({ observations: { ...observations, '2': spec('reward', double, [3]) } }),
    says: /reward/,
  },
  'a reward of text': {
    at: 'joinWorld',
    send: joining({ observations: { ...observations, '2': spec('reward', string) } }),
    says: /reward/,
  },
  'no actions': { at: 'joinWorld', send: joining({ actions: {} }), says: /the environment has no actions/ },
  'bounds the wrong way round': {
    at: 'joinWorld',
    send: acting(spec('push', double, [1], bounds([1], [-1]))),
    says: /the minimum 1 and the maximum -1/,
  },
  'bounds that are no numbers': {
    at: 'joinWorld',
    send: acting(spec('push', double, [1], bounds([Number.NaN], [Number.NaN]))),
    says: /the minimum NaN/,
  },
  'too many bounds': {
    at: 'joinWorld',
    send: acting(spec('push', double, [1], bounds([1, 2, 3], [4]))),
    says: /the spec 'push' has 3 bounds for the shape \[1\]/,
  },
  'two answers to JoinWorld': {
    at: 'joinWorld',
    send: (usual) => [usual, usual],
    says: /no request waits for|of another kind: joinWorld/,
  },
  // Reset
  'no answer to Reset': {
    at: 'reset',
    send: () => [],
    says: /no answer to Reset within 1 s.*deadlineSeconds/,
  },
  'other specs after a Reset': {
    at: 'reset',
    send: () => [{ reset: { specs: { ...specs, actions: {} } } }],
    says: /a reset changed the specs/,
  },
  'an error at each Reset': {
    at: 'reset',
    send: () => [{ error: { code: 13, message: 'no more\nroom' } }],
    says: /the server refused Reset: INTERNAL: no more\\nroom/,
  },
  // Step: the numbers
  'the state 0': {
    at: 'step',
    send: ofState(0),
    says: /the state of a step is 0, which dm_env_rpc does not have/,
  },
  'the state 77': { at: 'step', send: ofState(77), says: /the state of a step is 77/ },
  'the state -1': { at: 'step', send: ofState(-1), says: /the state of a step is -1/ },
  'a reward that is NaN': { at: 'step', send: reward(Number.NaN), says: /the reward is NaN/ },
  'a reward beyond float32': {
    at: 'step',
    send: reward(1e39),
    says: /^127\.0\.0\.1:\d+, world 'w', environment \d, episode \d+, step \d+: the reward is 1e\+39/,
  },
  'an observation beyond float32': {
    at: 'step',
    send: state({ doubles: { array: [1, 1e39, 7] }, shape: [3] }),
    specs: { ...specs, observations: { ...observations, '1': spec('state', double, [3]) } },
    says: /^127\.0\.0\.1:\d+, world 'w', environment \d, .*: observation 'state'\[1\] is 1e\+39/,
  },
  'a discount that is NaN': { at: 'step', send: discount(Number.NaN), says: /the discount is NaN/ },
  'a discount of 5': {
    at: 'step',
    send: discount(5),
    says: /the discount is 5, which is not between 0 and 1/,
  },
  'a discount of -1': { at: 'step', send: discount(-1), says: /the discount is -1/ },
  'an infinite observation': {
    at: 'step',
    send: state(floats(Number.POSITIVE_INFINITY, 1, 2)),
    says: /environment \d, episode \d+, step \d+: observation 'state'\[0\] is Infinity/,
  },
  // Step: the form
  'another shape': {
    at: 'step',
    send: state(floats(1, 2, 3, 4)),
    says: /world 'w', observation 'state': it is float32 \[4\], but its spec is float32 \[3\]/,
  },
  'too few elements': {
    at: 'step',
    send: state({ floats: { array: [1, 2] }, shape: [3] }),
    says: /2 elements do not fill the shape \[3\]/,
  },
  'too many elements': {
    at: 'step',
    send: state({ floats: { array: [1, 2, 3, 4] }, shape: [3] }),
    says: /4 elements do not fill the shape \[3\]/,
  },
  'a scalar for a vector': {
    at: 'step',
    send: state({ floats: { array: [1] } }),
    says: /it is float32 \[\], but/,
  },
  'one element for 2³¹ − 1': {
    at: 'step',
    send: state({ floats: { array: [1] }, shape: [2 ** 31 - 1] }),
    says: /it is float32 \[2147483647\], but/,
  },
  'one text for 2³¹ − 1': {
    at: 'step',
    send: state({ strings: { array: ['a'] }, shape: [2 ** 31 - 1] }),
    says: /it is string \[2147483647\], but/,
  },
  'a shape of 1,000 axes': {
    at: 'step',
    send: state({ floats: { array: [1] }, shape: Array(1000).fill(1) }),
    says: /a shape has 1000 axes/,
  },
  'another dtype': {
    at: 'step',
    send: state({ ...doubles(1, 2, 3), shape: [3] }),
    says: /it is float64 \[3\], but/,
  },
  'a tensor without elements': { at: 'step', send: state({}), says: /'state': a tensor has no payload/ },
  'no observation': { at: 'step', send: without('1'), says: /the observation 'state' is missing in a step/ },
  'no reward in a step': { at: 'step', send: without('2'), says: /the response to a step has no reward/ },
  'no discount in a step': { at: 'step', send: without('3'), says: /the response to a step has no discount/ },
  'three megabytes that nobody asked for': {
    at: 'step',
    send: (usual) => [others(usual, { '9': { uint8s: { array: new Uint8Array(3 * 2 ** 20) } } })],
    says: /a message is over the limit: .*environment\.maxMessageMegabytes/,
  },
  'half a message': {
    at: 'step',
    send: (usual) => [encode(usual).subarray(0, 20)],
    says: /the server's messages are not dm_env_rpc v1/,
  },
  // Step: the order
  'one surplus response': {
    at: 'step',
    send: (usual) => [usual, usual],
    times: 1,
    says: /environment \d: .* a response that no request waits for.* Reconnecting/,
    goesOn: true,
  },
  'one surplus response a moment later': {
    at: 'step',
    send: (usual) => [usual, 5, usual],
    times: 1,
    thinking: 60,
    says: /a response that no request waits for/,
    goesOn: true,
  },
  'a surplus response to every step': {
    at: 'step',
    from: 0,
    send: (usual) => [usual, usual],
    says: /a response that no request waits for/,
  },
  'a surplus response to every step but the first': {
    at: 'step',
    from: 1,
    send: (usual) => [usual, usual],
    says: /the connection was lost 10 times in a row, .* a response that no request waits for/,
  },
  'a thousand surplus responses': {
    at: 'step',
    send: (usual) => repeated(usual, 1000),
    times: 1,
    says: /a response that no request waits for/,
    goesOn: true,
  },
  'the response to a Reset': {
    at: 'step',
    send: () => [{ reset: { specs } }],
    times: 1,
    says: /the response to Step is of another kind: reset/,
    goesOn: true,
  },
  'no answer to one step': {
    at: 'step',
    send: () => [],
    times: 1,
    says: /no answer to Step within 1 s/,
    goesOn: true,
  },
  'no answer to any step': { at: 'step', from: 0, send: () => [], says: /no answer to Step within 1 s/ },
  'a stream that ends': {
    at: 'step',
    send: (_usual, stream) => {
      stream.end();
      return [];
    },
    times: 1,
    says: /the server ended the stream/,
    goesOn: true,
  },
  // Step: errors
  'one error': {
    at: 'step',
    send: () => [{ error: { code: 13, message: 'the solver\ndiverged' } }],
    times: 1,
    says: /the server refused Step: INTERNAL: the solver\\ndiverged/,
    goesOn: true,
  },
  'an error in every step': {
    at: 'step',
    from: 0,
    send: () => [{ error: { code: 13, message: hack } }],
    says: /the simulator has failed in 10 episodes in a row: .*HACK\\nsecond/,
  },
  'a status of a thousand lines': {
    at: 'step',
    send: status(grpc.status.DATA_LOSS, 'x\ny'.repeat(1000)),
    times: 1,
    says: /the server refused Step: DATA_LOSS: x\\nyx\\ny/,
    goesOn: true,
  },
};

describe('a server that misbehaves: no wrong transition, no hang, one line', () => {
  it('has more than 40 ways to', () => {
    expect(Object.keys(ways).length).toBeGreaterThan(40);
  });

  it('teaches everything when it does not', async () => {
    const usual: Way = { at: 'step', send: () => undefined, says: /./ };
    expect(await play(usual)).toMatchObject({ error: undefined, notices: [], transitions: 60, lost: 0 });
  });

  it.each(Object.entries(ways))('%s', async (_name, way) => {
    const before = process.memoryUsage().rss;
    const { error, notices, transitions, lost, seconds } = await play(way);
    const said = error === undefined ? notices : [...notices, (error as Error).message];
    for (const line of said) {
      expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      expect(line.length).toBeLessThan(1200);
    }
    if (way.goesOn) {
      expect(error).toBeUndefined();
      expect(notices[0]).toMatch(way.says);
      expect(lost).toBeGreaterThan(0);
      expect(transitions + lost).toBe(60);
    } else {
      expect(error).toBeInstanceOf(PmpoError);
      expect((error as Error).message).toMatch(way.says);
    }
    // Silence lasts for a deadline in each of three attempts.
    expect(seconds).toBeLessThan(15);
    expect(process.memoryUsage().rss - before).toBeLessThan(500 * 2 ** 20);
  });
});
