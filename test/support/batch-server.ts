import * as grpc from '@grpc/grpc-js';
import type { Environment, NamedSpecs, NamedTensorValues } from '../../src/environments/environment.js';
import {
  emptyData,
  packSpecs,
  packTensor,
  sizeOf,
  unpackSetting,
  unpackTensor,
} from '../../src/environments/tensor-codec.js';
import {
  bigintOf,
  environmentService,
  type WireRequest,
  type WireResponse,
} from '../../src/environments/wire.js';

/** One stream's world of N environments, as pmpo-simulator-server has it for `batchSize`; see its README. */
interface Batch {
  readonly environments: readonly Environment[];
  readonly actions: ReturnType<typeof packSpecs>;
  readonly observations: ReturnType<typeof packSpecs>;
  readonly specs: NamedSpecs;
  /** What the last answer said of each. */
  readonly rows: (NamedTensorValues | undefined)[];
  readonly states: number[];
  readonly errors: string[];
}

/** A bound of each element, for each of `size` environments. */
const repeated = (limit: number | readonly number[] | undefined, size: number) =>
  typeof limit === 'object' ? Array.from({ length: size }, () => limit).flat() : limit;

const stacked = (specs: NamedSpecs, size: number): NamedSpecs =>
  Object.fromEntries(
    Object.entries(specs).map(([name, { dtype, shape, minimum, maximum }]) => [
      name,
      {
        name,
        dtype,
        shape: [size, ...shape],
        minimum: repeated(minimum, size),
        maximum: repeated(maximum, size),
      },
    ]),
  );

function batchOf(environments: readonly Environment[]): Batch {
  const size = environments.length;
  const { observationSpec, actionSpec } = environments[0];
  const own = (name: string, dtype: 'int32' | 'int64' | 'string' | 'float64') => ({
    name,
    dtype,
    shape: [size],
  });
  const specs = {
    ...stacked(observationSpec, size),
    reward: own('reward', 'float64'),
    'batch/state': own('batch/state', 'int32'),
    'batch/errorCode': own('batch/errorCode', 'int32'),
    'batch/error': own('batch/error', 'string'),
  };
  return {
    environments,
    specs,
    observations: packSpecs(specs),
    actions: packSpecs({
      ...stacked(actionSpec, size),
      'batch/command': own('batch/command', 'int32'),
      'batch/seed': own('batch/seed', 'int64'),
    }),
    rows: environments.map(() => undefined),
    states: environments.map(() => 0),
    errors: environments.map(() => ''),
  };
}

export interface BatchServer {
  readonly address: string;
  readonly port: number;
  /** The commands of each step so far, N each: 0 to step, 1 to reset, 2 to wait. */
  readonly messages: number[][];
  /** How many streams there have been. */
  readonly streams: () => number;
  close(): void;
}

/** A server of batches. `create` makes simulator i; `respond` may answer in its place. */
export async function serveBatches(
  create: (i: number) => Environment,
  {
    port = 0,
    respond = () => undefined,
  }: { port?: number; respond?: (request: WireRequest) => WireResponse | undefined } = {},
): Promise<BatchServer> {
  const messages: number[][] = [];
  let streams = 0;

  async function step(
    batch: Batch,
    { actions = {}, requestedObservations = [] }: NonNullable<WireRequest['step']>,
  ) {
    const given = Object.fromEntries(
      Object.entries(actions).map(([uid, tensor]) => [batch.actions.uids.get(uid)!, unpackTensor(tensor)]),
    );
    const commands = [...(given['batch/command'].data as Int32Array)];
    messages.push(commands);
    const seeds = given['batch/seed']?.data as BigInt64Array;
    for (const [i, environment] of batch.environments.entries()) {
      if (commands[i] === 2) continue;
      try {
        if (commands[i] === 1) {
          const { observation } = await environment.reset(seeds[i] < 0n ? {} : { seed: Number(seeds[i]) });
          batch.rows[i] = {
            ...observation,
            reward: { dtype: 'float64', shape: [], data: Float64Array.of(0) },
          };
          batch.states[i] = 1;
        } else {
          const action = Object.fromEntries(
            Object.entries(environment.actionSpec).map(([name, { dtype, shape }]) => {
              const data = given[name].data as Float32Array;
              return [name, { dtype, shape, data: data.slice(i * sizeOf(shape), (i + 1) * sizeOf(shape)) }];
            }),
          );
          const taken = await environment.step(action);
          batch.rows[i] = {
            ...taken.observation,
            reward: { dtype: 'float64', shape: [], data: Float64Array.of(taken.reward) },
          };
          batch.states[i] = taken.terminated ? 2 : taken.truncated ? 3 : 1;
        }
      } catch (error) {
        batch.states[i] = 0;
        batch.errors[i] = `simulator ${i}: ${(error as Error).message}`;
      }
    }
    const names = requestedObservations.map((uid) => {
      const digits = bigintOf(uid).toString();
      return [digits, batch.observations.uids.get(digits)!] as const;
    });
    const value = (name: string) => {
      const { dtype, shape } = batch.specs[name];
      const data = emptyData(dtype, sizeOf(shape)) as unknown[];
      const width = sizeOf(shape.slice(1));
      const fill = (i: number, row: ArrayLike<unknown>) => {
        for (let j = 0; j < width; j++) data[i * width + j] = row[j];
      };
      for (const i of batch.states.keys()) {
        if (name === 'batch/state') fill(i, [batch.states[i]]);
        else if (name === 'batch/errorCode') fill(i, [batch.states[i] === 0 ? 13 : 0]);
        else if (name === 'batch/error') fill(i, [batch.errors[i]]);
        else if (batch.rows[i] !== undefined) fill(i, batch.rows[i]![name].data as ArrayLike<unknown>);
      }
      return packTensor({ dtype, shape, data: data as never });
    };
    return { state: 1, observations: Object.fromEntries(names.map(([uid, name]) => [uid, value(name)])) };
  }

  const server = new grpc.Server();
  server.addService(environmentService, {
    Process(call: grpc.ServerDuplexStream<WireRequest, WireResponse>) {
      streams += 1;
      let batch: Batch;
      let queue = Promise.resolve();
      const answer = async (request: WireRequest): Promise<WireResponse> => {
        const instead = respond(request);
        if (instead !== undefined) return instead;
        if (request.createWorld) {
          const size = Number(unpackSetting(request.createWorld.settings!.batchSize));
          batch = batchOf(Array.from({ length: size }, (_, i) => create(i)));
          return { createWorld: { worldName: `batch-${streams}` } };
        }
        if (request.joinWorld) {
          const specs = { actions: batch.actions.byUid, observations: batch.observations.byUid };
          return { joinWorld: { specs } };
        }
        if (request.step) return { step: await step(batch, request.step) };
        return request.leaveWorld ? { leaveWorld: {} } : { destroyWorld: {} };
      };
      call.on('data', (request: WireRequest) => {
        queue = queue.then(async () => {
          const response = await answer(request).catch((error: Error) => ({
            error: { code: 13, message: error.message },
          }));
          if (!call.cancelled) call.write(response);
        });
      });
      call.on('error', () => {});
    },
  });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, actual) =>
      error === null ? resolve(actual) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${bound}`,
    port: bound,
    messages,
    streams: () => streams,
    close: () => server.forceShutdown(),
  };
}
