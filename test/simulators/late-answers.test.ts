import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { OutOfStepError } from '../../src/core/errors.js';
import { connectOverSharedStreams } from '../../src/dm-env-rpc/client/shared-streams.js';
import { environmentService, rawEnvironmentService } from '../../src/dm-env-rpc/codec/messages.js';
import { createEngine } from '../../src/engine/create.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type { NamedTensorValues } from '../../src/environments/environment.js';
import type { VectorEnvironment } from '../../src/environments/vector-environment.js';
import { createFeedbackRegistry } from '../../src/feedback/registry.js';
import type * as wire from '../../src/generated/dm-env-rpc.js';
import { trainControl } from '../../src/learners/control/train.js';
import { createOperatorRegistry } from '../../src/operators/registry.js';
import type { Checkpoint } from '../../src/run/checkpoints.js';
import { grpcServer } from '../environments/servers.js';
import { serveBatches } from '../support/batch-server.js';
import { controlConfig } from '../support/control-config.js';
import { countingEnvironment } from '../support/counting-environment.js';
import { silentObserver } from '../support/silent-observer.js';
import { doubles, floats, specs } from './misbehaving-server.js';

/**
 * A server that answers one step twice, and the second time so late that it is taken for the answer to the next step. From then on,
 * each step gets the answer to the one before it, as long as the client never pauses. The server echoes each action in the
 * observation and in the reward, so that wrong transitions can be told.
 */

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** Milliseconds that each answer takes: longer than the client does between two steps. */
const delay = 40;

interface Script {
  /** Steps of an episode, and the step of each stream that is answered twice; default: no end, and no such step. */
  readonly length?: number;
  readonly twice?: number;
}

async function serve({ length = Number.POSITIVE_INFINITY, twice }: Script): Promise<string> {
  const server = await grpcServer(environmentService, {
    Process(call: grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>) {
      let [t, total] = [0, 0];
      // One request after the other, as a simulator computes.
      let computed = Promise.resolve();
      let last: wire.EnvironmentResponse = {};
      const answerTo = (request: wire.EnvironmentRequest): wire.EnvironmentResponse => {
        if (request.createWorld) return { createWorld: { worldName: 'w' } };
        if (request.joinWorld) return { joinWorld: { specs } };
        if (request.leaveWorld) return { leaveWorld: {} };
        if (request.destroyWorld) return { destroyWorld: {} };
        if (request.reset) {
          t = 0;
          return { reset: { specs } };
        }
        const action = [...(request.step?.actions?.['1']?.doubles?.array ?? [0])][0];
        const observations = { '1': floats(t, action, 7), '2': doubles(action), '3': doubles(1) };
        t += 1;
        return { step: { state: t > length ? 3 : 1, observations } };
      };
      call.on('error', () => {});
      call.on('end', () => call.end());
      call.on('data', (request: wire.EnvironmentRequest) => {
        const before = last;
        last = answerTo(request);
        const response = last;
        if (request.step && ++total === (twice ?? -1) + 1) call.write(before);
        computed = computed.then(async () => {
          if (request.step) await pause(delay);
          call.write(response);
        });
      });
    },
  });
  cleanups.push(() => server.close());
  return server.address;
}

/** A way to a server on which the answer to request `twice` of each stream comes again, before that to the next one. */
async function repeatingWay(to: string, twice: number): Promise<string> {
  const { path } = rawEnvironmentService.Process;
  const raw = (bytes: Buffer) => bytes;
  const server = await grpcServer(
    {
      Process: {
        ...environmentService.Process,
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    },
    {
      Process(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
        const client = new grpc.Client(to, grpc.credentials.createInsecure());
        const onward = client.makeBidiStreamRequest(path, raw, raw);
        let requests = 0;
        let last: Buffer | undefined;
        call.on('data', (request: Buffer) => {
          if (requests++ === twice + 1) call.write(last!);
          onward.write(request);
        });
        onward.on('data', (response: Buffer) => {
          last = response;
          call.write(response);
        });
        for (const stream of [call, onward]) stream.on('error', () => client.close());
        call.on('end', () => onward.end());
        onward.on('end', () => call.end());
      },
    },
  );
  cleanups.push(() => server.close());
  return server.address;
}

async function connect(address: string, numEnvs = 1, envsPerStream = 1): Promise<VectorEnvironment> {
  const vector = await createVectorEnvironment({
    numEnvs,
    connect: connectOverSharedStreams({
      numEnvs,
      envsPerStream,
      optionsOf: () => ({ address, deadlineSeconds: 20, reuseArrays: true }),
    }),
    episodeSeed: (k, episode) => 100 * k + episode,
    reconnect: { attempts: 2, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
    notice: () => {},
  });
  cleanups.push(() => vector.close());
  return vector;
}

/** Takes up to `steps` steps. Returns how many got the answer to another action, and the error that ended them. */
async function play(vector: VectorEnvironment, steps: number) {
  await vector.reset();
  let wrong = 0;
  for (let t = 0; t < steps; t++) {
    const given = Math.fround(Math.sin(1 + t));
    try {
      const { nextObservations } = await vector.step(Float32Array.of(given));
      if (nextObservations[1] !== given) wrong += 1;
    } catch (error) {
      return { wrong, steps: t, error };
    }
  }
  return { wrong, steps, error: undefined };
}

/** The error of verifying all steps. On a busy machine, a pause of the client may have shown the shift before. */
const verified = (vector: VectorEnvironment) => vector.verifySteps().catch((error: unknown) => error);

describe('an answer that comes twice, the second time during the next step', () => {
  it('ends the run at the latest with the episode, whose Reset has an answer of another kind', async () => {
    const vector = await connect(await serve({ length: 12, twice: 5 }));
    const { wrong, steps, error } = await play(vector, 100);
    expect(wrong).toBeGreaterThan(0);
    expect(steps).toBeLessThanOrEqual(12);
    expect(error).toBeInstanceOf(OutOfStepError);
    expect((error as Error).message).toMatch(
      /^127\.0\.0\.1:\d+, environment 0, episode [01], step \d+: (the response to Reset is of another kind: step|the server sent a response that no request waits for)\. Correct the server/,
    );
  });

  it('is found within an episode when its steps are verified', async () => {
    const vector = await connect(await serve({ twice: 5 }));
    const { wrong, error } = await play(vector, 10);
    expect(wrong).toBeGreaterThan(0);
    expect(error ?? (await verified(vector))).toBeInstanceOf(OutOfStepError);
  });

  it('is found when steps are verified on a shared stream, where resets have no kind of their own', async () => {
    const slow = () => {
      const inner = countingEnvironment({ length: 100 });
      return { ...inner, step: (action: NamedTensorValues) => pause(delay).then(() => inner.step(action)) };
    };
    const server = await serveBatches(slow, { size: 2 });
    cleanups.push(() => server.close());
    const vector = await connect(await repeatingWay(server.address, 5), 2, 2);
    await vector.reset();
    const counts: number[] = [];
    let error: unknown;
    for (let t = 0; t < 9 && error === undefined; t++) {
      const step = await vector.step(Float32Array.of(0.5, -0.5)).catch((cause: unknown) => {
        error = cause;
      });
      if (step) counts.push(step.nextObservations[1]);
    }
    // The answer to the third step comes twice.
    expect(counts.slice(0, 4)).toEqual([1, 2, 3, 3]);
    expect(error ?? (await verified(vector))).toBeInstanceOf(OutOfStepError);
  });

  it('costs an honest server nothing but a short pause', async () => {
    const vector = await connect(await serve({}));
    expect(await play(vector, 10)).toEqual({ wrong: 0, steps: 10, error: undefined });
    const start = performance.now();
    await vector.verifySteps();
    expect(performance.now() - start).toBeLessThan(1000);
    await vector.step(Float32Array.of(0.5));
  });

  it('ends training before a checkpoint holds any of what it has shifted', async () => {
    const engine = await createEngine('onnx', { threads: 1 });
    cleanups.push(() => engine.dispose());
    const config = controlConfig({
      learner: { environmentSteps: 200, warmupSteps: 1000 },
      evaluation: { every: 1000, episodes: 1 },
      checkpoint: { every: 20 },
      replay: { nStep: 1, capacity: 1000 },
    });
    const checkpoints: Checkpoint[] = [];
    const pmpo = createOperatorRegistry().get('pmpo');
    const topK = createFeedbackRegistry().get('top-k');
    const training = trainControl({
      config,
      engine,
      environment: await connect(await serve({ twice: 50 })),
      evaluationEnvironment: await connect(await serve({ length: 3 })),
      operator: pmpo.create(pmpo.settings.parse({})),
      classifier: topK.create(topK.settings.parse({}), 4),
      observer: {
        ...silentObserver,
        checkpoint: async (_steps, checkpoint) => {
          checkpoints.push(checkpoint);
        },
      },
      clock: () => performance.now(),
    });
    const error = await training.catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(OutOfStepError);
    expect((error as Error).message).toMatch(
      /What was learned since the last checkpoint may be wrong and is not saved\. Correct the server/,
    );
    expect(checkpoints).toHaveLength(2);
    const { tensors } = checkpoints[1];
    const [actions, next] = [tensors['replay/actions'].data, tensors['replay/nextObservations'].data];
    expect(actions).toHaveLength(40);
    for (let i = 0; i < 40; i++) expect(next[3 * i + 1]).toBe(actions[i]);
  });
});
