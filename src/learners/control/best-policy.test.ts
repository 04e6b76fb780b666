import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlConfig } from '../../../test/support/control-config.js';
import { countingEnvironment } from '../../../test/support/counting-environment.js';
import { silentObserver } from '../../../test/support/silent-observer.js';
import { createFamily } from '../../distributions/create.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import { createVectorEnvironment } from '../../environments/create-vector-environment.js';
import { topKDefinition } from '../../feedback/top-k.js';
import { pmpo } from '../../operators/pmpo.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import { ReplaceablePolicy } from './acting-policy.js';
import { BestPolicy, withBestPolicy } from './best-policy.js';
import { TrainedPolicy } from './policy.js';
import { packPolicy, unpackPolicy } from './published-policy.js';
import { trainControl } from './train.js';
import type { TrainControlResult } from './train-options.js';

const runtime = createRequire(import.meta.url)('onnxruntime-node') as typeof import('onnxruntime-node');

// A checkpoint follows each evaluation, so that the policy of each evaluation is known apart from the best one.
const config = controlConfig({
  learner: { environmentSteps: 402, stepsPerUpdate: 4, normalizeObservations: true },
  evaluation: { every: 100, episodes: 1 },
  checkpoint: { every: 100 },
});

function environments(numEnvs: number, reward: (count: number) => number) {
  return createVectorEnvironment({
    // The step count is far from 0, so that a policy without its normalization would act otherwise.
    connect: async () => countingEnvironment({ length: 20, observe: (count) => 50 + 10 * count, reward }),
    numEnvs,
    episodeSeed: (env, episode) => env * 10 + (episode % 7),
    reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
    notice: () => {},
  });
}

const engines: Engine[] = [];
afterAll(() => Promise.all(engines.map((engine) => engine.dispose())));

/** An engine for one set of variables, disposed of after the tests. */
async function newEngine(): Promise<Engine> {
  const engine = await createEngine('onnx', { threads: 1 });
  engines.push(engine);
  return engine;
}

interface Job {
  readonly result: TrainControlResult;
  /** By environment steps. */
  readonly checkpoints: ReadonlyMap<number, Checkpoint>;
  /** Environment steps of the evaluations. */
  readonly evaluated: readonly number[];
}

/** Trains with evaluations whose returns are `script`, in their order, whatever the policy does. */
async function train(
  script: readonly number[],
  more: { readonly resume?: Checkpoint; readonly stopAt?: number } = {},
): Promise<Job> {
  const checkpoints = new Map<number, Checkpoint>();
  const evaluated: number[] = [];
  const stop = new AbortController();
  const engine = await newEngine();
  const result = await trainControl({
    config,
    engine,
    environment: await environments(3, (count) => count / 20),
    evaluationEnvironment: await environments(1, () => script[evaluated.length] / 20),
    operator: pmpo(),
    classifier: topKDefinition.create({ accept: 2, reject: 2 }, 4),
    observer: {
      ...silentObserver,
      evaluation: ({ steps }) => evaluated.push(steps),
      checkpoint: async (steps, checkpoint) => {
        checkpoints.set(steps, structuredClone(checkpoint));
        if (steps === more.stopAt) stop.abort();
      },
    },
    resume: more.resume,
    signal: stop.signal,
    clock: () => 0,
  });
  return { result, checkpoints, evaluated };
}

const observations = Float32Array.from({ length: 6 * 3 }, (_, i) =>
  i % 3 === 1 ? 60 + 9 * i : 3 * Math.sin(i),
);

/** What ONNX Runtime computes with an exported model, from raw observations. */
async function actionsOf(onnx: Uint8Array): Promise<number[]> {
  const session = await runtime.InferenceSession.create(onnx);
  const outputs = await session.run({ observation: new runtime.Tensor('float32', observations, [6, 3]) });
  await session.release();
  return Array.from(outputs.canonicalAction.data as Float32Array);
}

/** How far two lists of actions are apart. */
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i])));

describe('the best policy by evaluation', () => {
  let whole: Job;

  /** The actions of the policy in a checkpoint. */
  const actionsAt = async (checkpoint: Checkpoint | undefined) =>
    TrainedPolicy.fromCheckpoint(await newEngine(), config, checkpoint!).act(observations, 6);

  beforeAll(async () => {
    whole = await train([1, 5, 3, 2]);
  });

  it('is the one of the evaluation with the highest mean return, not the last one', async () => {
    const { result, checkpoints, evaluated } = whole;
    expect(evaluated).toEqual([102, 201, 300, 402]);
    expect(result.best).toMatchObject({ steps: 201, scoreCount: 1 });
    expect(result.best?.meanScore).toBeCloseTo(5, 5);
    expect(result.evaluation.scores[0]).toBeCloseTo(2, 5);
    const exported = await actionsOf(await result.bestPolicy!.exportOnnx());
    expect(distance(exported, await actionsAt(checkpoints.get(201)))).toBeLessThan(1e-5);
    for (const steps of [102, 300, 402]) {
      expect(distance(exported, await actionsAt(checkpoints.get(steps)))).toBeGreaterThan(1e-3);
    }
  });

  it('has its normalization of observations: its model takes raw ones, as `act` does', async () => {
    const { checkpoints, result } = whole;
    const exported = await actionsOf(await result.bestPolicy!.exportOnnx());
    expect(distance(exported, await result.bestPolicy!.act(observations, 6))).toBeLessThan(1e-5);
    const last = await actionsOf(await result.policy.exportOnnx());
    expect(distance(last, await result.policy.act(observations, 6))).toBeLessThan(1e-5);
    expect(distance(last, await actionsAt(checkpoints.get(402)))).toBeLessThan(1e-5);
    // The statistics of the evaluation, not those of the end.
    const [best, end] = [201, 402].map((steps) => checkpoints.get(steps)!.tensors);
    const differing = Object.keys(best).filter(
      (name) =>
        name.startsWith('policy/') &&
        distance(best[name].data as Float32Array, end[name].data as Float32Array) > 0,
    );
    const statistics = Object.keys(best).filter((name) =>
      /^policy\/.*(mean|square|count|variance)/i.test(name),
    );
    expect(statistics.length).toBeGreaterThan(0);
    expect(differing).toEqual(expect.arrayContaining(statistics));
  });

  it('acts alike, with its normalization, in the process of a remote actor', async () => {
    const { checkpoints, result } = whole;
    const published = Object.entries(checkpoints.get(402)!.tensors)
      .filter(([name]) => name.startsWith('policy/'))
      .map(([name, value]) => [name.slice('policy/'.length), value]);
    const remote = new ReplaceablePolicy(await newEngine(), {
      config,
      family: createFamily(config.policy, Int32Array.of(0)),
      observationSize: 3,
      actionSize: 1,
    });
    await remote.replace(unpackPolicy(packPolicy(Object.fromEntries(published), 1)));
    const actions = await remote.act(observations, new Float32Array(6), 6);
    expect(distance(actions, await result.policy.act(observations, 6))).toBeLessThan(1e-5);
  });

  it('is in every later checkpoint', async () => {
    const chosen = withBestPolicy(whole.checkpoints.get(402)!);
    expect(chosen?.metadata.best).toEqual(whole.result.best);
    expect(await actionsAt(chosen)).toEqual(await actionsAt(whole.checkpoints.get(201)));
    expect(withBestPolicy({ tensors: {}, metadata: {} })).toBeUndefined();
  });

  it('survives a stop and resume', async () => {
    const stopped = await train([1, 5], { stopAt: 201 });
    expect(stopped.result).toMatchObject({ interrupted: true, best: { steps: 201 } });
    const resumed = await train([3, 2], { resume: stopped.checkpoints.get(201) });
    expect(resumed.evaluated).toEqual([300, 402]);
    expect(resumed.result.best).toEqual(whole.result.best);
    const [a, b] = await Promise.all([whole, resumed].map(({ result }) => result.bestPolicy!.exportOnnx()));
    expect(Buffer.from(a).equals(Buffer.from(b))).toBe(true);
  });

  it('is the first of equals, and is never one whose return is not a number', async () => {
    const engine = await newEngine();
    const best = new BestPolicy();
    const offer = (steps: number, scores: readonly number[]) => {
      const weight = engine.variable(`policy/weight${steps}`, { shape: [1], data: Float32Array.of(steps) });
      const counts = { steps, updates: steps, wallSeconds: 0 };
      const record = { ...counts, stepUnit: 'environment steps', scoreName: 'return', scores } as const;
      return best.offer(record, engine, { 'policy/weight': weight });
    };
    expect(best.snapshot()).toEqual({ tensors: {}, metadata: {} });
    await offer(1, [Number.NaN]);
    await offer(2, []);
    expect(best.evaluation).toBeUndefined();
    await offer(3, [-4, -6]);
    await offer(4, [-5]);
    await offer(5, [-9, Number.NaN]);
    expect(best.evaluation).toEqual({ steps: 3, updates: 3, scoreCount: 2, meanScore: -5, stdScore: 1 });
    await offer(6, [-1]);
    expect(best.evaluation?.steps).toBe(6);
    expect(Array.from(best.values['policy/weight'].data)).toEqual([6]);
  });
});
