import type * as grpc from '@grpc/grpc-js';
import { afterEach, expect } from 'vitest';
import { connectOverSharedStreams } from '../../src/dm-env-rpc/client/shared-streams.js';
import { environmentService } from '../../src/dm-env-rpc/codec/messages.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type * as wire from '../../src/generated/dm-env-rpc.js';
import { grpcServer, type TestServer } from '../environments/servers.js';

/**
 * A server that misbehaves, and a vector environment on it. The server echoes each action in the observation and in the
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

export type Response = wire.EnvironmentResponse;
export type Stream = grpc.ServerDuplexStream<wire.EnvironmentRequest, Buffer>;
type Kind = 'createWorld' | 'joinWorld' | 'reset' | 'step';

/** What the server sends for a request, in order; a number of milliseconds is a pause. */
export type Sent = readonly (Response | Buffer | number)[];

/** One way to misbehave. */
export interface Way {
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

export const floats = (...array: number[]) => ({ floats: { array }, shape: [array.length] });
export const doubles = (...array: number[]) => ({ doubles: { array } });
export const spec = (name: string, dtype: number, shape: number[] = [], more: wire.TensorSpec = {}) => ({
  name,
  dtype,
  shape,
  ...more,
});
export const [float, double, string] = [1, 2, 10];
export const bounds = (min: number[], max: number[]) => ({ min: doubles(...min), max: doubles(...max) });

export const actions = { '1': spec('push', double, [1], bounds([-1], [1])) };
export const observations = {
  '1': spec('state', float, [3]),
  '2': spec('reward', double),
  '3': spec('discount', double),
};
export const specs: wire.ActionObservationSpecs = { actions, observations };

export const encode = environmentService.Process.responseSerialize as (response: Response) => Buffer;
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
export async function play(way: Way) {
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

/** Ends the stream with a status. */
export const status = (code: grpc.status, details: string) => (_usual: Response, stream: Stream) => {
  stream.emit('error', { code, details });
  return [];
};
/** A text that would take over a terminal. */
export const takeover = `bad \x1b[2J\x1b[31mHACK\nsecond line\r\u202e${'A'.repeat(100_000)}`;
export const repeated = (response: Response, times: number): Sent => Array(times).fill(response);
