import { afterEach, describe, expect, it } from 'vitest';
import { randomKey } from '../../src/core/random-keys.js';
import { createFamily } from '../../src/distributions/create.js';
import { connectOverSharedStreams } from '../../src/dm-env-rpc/client/shared-streams.js';
import { serveEnvironments } from '../../src/dm-env-rpc/server/serve-environments.js';
import { createEngine } from '../../src/engine/create.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type { VectorEnvironment } from '../../src/environments/vector-environment.js';
import { topKDefinition } from '../../src/feedback/top-k.js';
import { ActingLoop } from '../../src/learners/control/acting-loop.js';
import { episodeReturns } from '../../src/learners/control/evaluate.js';
import { trainControl } from '../../src/learners/control/train.js';
import { pmpo } from '../../src/operators/pmpo.js';
import { ChunkBuilder, unpackChunk } from '../../src/replay/redis/packing.js';
import { controlConfig } from '../support/control-config.js';
import { type CountingEnvironmentOptions, countingEnvironment } from '../support/counting-environment.js';

/** Small decision processes whose values are known, behind a real gRPC server. γ is 0.9, and each step is rewarded with 1. */

const gamma = 0.9;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Connected {
  readonly numEnvs: number;
  readonly envsPerStream?: number;
  readonly actionRepeat?: number;
}

async function connect(
  world: CountingEnvironmentOptions,
  { numEnvs, envsPerStream = 1, actionRepeat = 1 }: Connected,
): Promise<VectorEnvironment> {
  const server = await serveEnvironments({
    createEnvironment: async () => countingEnvironment({ reward: () => 1, ...world }),
    port: 0,
  });
  cleanups.push(() => server.close());
  const vector = await createVectorEnvironment({
    connect: connectOverSharedStreams({
      numEnvs,
      envsPerStream,
      optionsOf: () => ({ address: server.address, deadlineSeconds: 5, reuseArrays: true }),
    }),
    numEnvs,
    episodeSeed: (_, episode) => episode,
    actionRepeat,
    reconnect: { attempts: 0, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 },
    notice: () => {},
  });
  cleanups.push(() => vector.close());
  return vector;
}

/** The transitions of 60 steps: the steps of both observations within their episodes, n-step return, and weight of what follows. */
async function transitionsOf(environment: VectorEnvironment, nStep: number) {
  const config = controlConfig({ learner: { discount: gamma, warmupSteps: 0 }, replay: { nStep } });
  const chunk = new ChunkBuilder(environment, 1000);
  const loop = new ActingLoop({
    config,
    environment,
    family: createFamily(config.policy, environment.actionValues),
    key: randomKey(0),
    act: async (_, __, numEnvs) => new Float32Array(numEnvs),
    sink: (...transition) => chunk.add(...transition),
    onEpisode: () => {},
  });
  await loop.reset();
  for (let t = 0; t < 60; t++) loop.record(await (await loop.startStep(t, t)).stepped);
  const transitions: { from: number; nStepReturn: number; weight: number; to: number }[] = [];
  const { count } = chunk;
  // By way of the bytes that actors send through Redis.
  unpackChunk(chunk.take(), count, environment, (from, _action, nStepReturn, weight, to) =>
    transitions.push({ from: from[1], nStepReturn, weight, to: to[1] }),
  );
  return transitions;
}

const worlds: readonly (readonly [string, CountingEnvironmentOptions, (step: number) => number])[] = [
  ['a cut after 20 steps', { length: 20 }, () => 10],
  ['a terminal state after 3 steps', { length: 3, end: 'terminated' }, (t) => [2.71, 1.9, 1, 0][t]],
  ['episodes of length 1', { length: 1, end: 'terminated' }, (t) => 1 - t],
  ['a discount of 0.5 at each step', { length: 20, discount: () => 0.5 }, () => 1 / (1 - gamma * 0.5)],
  ['a last discount of 0.1', { length: 1, end: 'truncated', discount: () => 0.1 }, () => 1 / 0.91],
  ['a terminal discount of 0.1', { length: 1, end: 'terminated', discount: () => 0.1 }, () => 1 / 0.91],
  ['a discount of 0 in mid-episode', { length: 20, discount: () => 0 }, () => 1],
];

describe.each(worlds)('the stored targets of a world with %s are its values', (_, world, value) => {
  it.each([
    ['1-step returns', 1, { numEnvs: 1 }],
    ['5-step returns', 5, { numEnvs: 2 }],
    ['5-step returns of environments on one stream', 5, { numEnvs: 3, envsPerStream: 3 }],
  ])('with %s', async (_, nStep, connected) => {
    const transitions = await transitionsOf(await connect(world, connected), nStep);
    expect(transitions.length).toBeGreaterThan(50);
    for (const { from, nStepReturn, weight, to } of transitions) {
      expect(nStepReturn + weight * value(to)).toBeCloseTo(value(from), 5);
    }
  });
});

it('the stored targets of a repeated action add up its rewards, and multiply its discounts', async () => {
  const world = await connect({ length: 5, discount: () => 0.5 }, { numEnvs: 1, actionRepeat: 2 });
  const transitions = await transitionsOf(world, 1);
  const found = new Set(
    transitions.map((each) => [each.from, each.nStepReturn, each.to, each.weight].join()),
  );
  const half = Math.fround(gamma * 0.5);
  const quarter = Math.fround(gamma * 0.25);
  expect(found).toEqual(new Set([`0,2,2,${quarter}`, `2,2,4,${quarter}`, `4,1,5,${half}`]));
});

describe('an evaluation', () => {
  const still = async (observations: Float32Array) => new Float32Array(observations.length / 3);

  it.each([
    [1, 4, [5, 0, 5, 0]],
    [2, 4, [5, 5, 0, 0]],
  ])(
    'with %s environments counts episodes that are over at their reset',
    async (numEnvs, episodes, returns) => {
      const vector = await connect({ length: 5, isEmpty: (seed) => seed % 2 === 1 }, { numEnvs });
      expect(await episodeReturns(vector, episodes, still)).toEqual(returns);
    },
  );

  it('of a simulator that fails late in every episode ends with an error', async () => {
    const fail = (_: number, count: number) => (count === 120 ? new Error('the solver diverged') : undefined);
    const vector = await connect({ length: 150, fail }, { numEnvs: 2 });
    await expect(episodeReturns(vector, 2, still)).rejects.toThrow(
      /^evaluation, environment \d: 10 episodes in a row did not come to their end, because the simulator failed/,
    );
  });

  it('goes on if the simulator fails in some episodes', async () => {
    const fail = (seed: number, count: number) =>
      seed % 3 !== 2 && count === 3 ? new Error('the solver diverged') : undefined;
    const vector = await connect({ length: 5, fail }, { numEnvs: 1 });
    expect(await episodeReturns(vector, 4, still)).toEqual([5, 5, 5, 5]);
  });

  it('adds up rewards without the rounding errors of float32', async () => {
    const vector = await connect({ length: 1000, reward: () => 0.1 }, { numEnvs: 1 });
    const [sum] = await episodeReturns(vector, 1, still);
    expect(Math.abs(sum - 100)).toBeLessThan(1e-9);
  });
});

it('a critic learns the value of a world whose server sends discounts', { timeout: 60_000 }, async () => {
  const engine = await createEngine('onnx', { threads: 1 });
  cleanups.push(() => engine.dispose());
  let value = 0;
  const world: CountingEnvironmentOptions = { length: 20, observe: () => 1, discount: () => 0.5 };
  await trainControl({
    config: controlConfig({
      critic: { hidden: [32], learningRate: 3e-3, target: { period: 10 } },
      learner: {
        environmentSteps: 1500,
        warmupSteps: 200,
        batchSize: 64,
        stepsPerUpdate: 1,
        discount: gamma,
      },
      replay: { nStep: 3 },
      evaluation: { every: 1500, episodes: 1 },
      checkpoint: { every: 1500 },
    }),
    engine,
    environment: await connect(world, { numEnvs: 2, envsPerStream: 2 }),
    evaluationEnvironment: await connect(world, { numEnvs: 1 }),
    operator: pmpo(),
    classifier: topKDefinition.create({ accept: 2, reject: 2 }, 4),
    observer: {
      progress: () => {},
      metrics: ({ values }) => {
        value = values['critic/value'] ?? value;
      },
      evaluation: () => {},
      notice: () => {},
      checkpoint: async () => {},
    },
    clock: () => 0,
  });
  expect(Math.abs(value / (1 / (1 - gamma * 0.5)) - 1)).toBeLessThan(0.01);
});
