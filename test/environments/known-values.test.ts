import { afterEach, describe, expect, it } from 'vitest';
import { foldIn, randomKey } from '../../src/core/random-keys.js';
import { createFamily } from '../../src/distributions/create.js';
import { connectOverSharedStreams } from '../../src/dm-env-rpc/client/shared-streams.js';
import { serveEnvironments } from '../../src/dm-env-rpc/server/serve-environments.js';
import { createEngine } from '../../src/engine/create.js';
import type { Tensor2D, Tensor3D } from '../../src/engine/tensors.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type { VectorEnvironment } from '../../src/environments/vector-environment.js';
import { topKDefinition } from '../../src/feedback/top-k.js';
import { ActingLoop } from '../../src/learners/control/acting-loop.js';
import { Agent } from '../../src/learners/control/agent.js';
import { episodeReturns } from '../../src/learners/control/evaluate.js';
import { updateNoise } from '../../src/learners/control/noise.js';
import { trainControl } from '../../src/learners/control/train.js';
import { applyCritic } from '../../src/networks/critic.js';
import { normalized } from '../../src/networks/normalizer.js';
import { valuesOf } from '../../src/networks/value-normalizer.js';
import { pmpo } from '../../src/operators/pmpo.js';
import { ChunkBuilder, unpackChunk } from '../../src/replay/redis/packing.js';
import { TransitionStore } from '../../src/replay/transition-store.js';
import { controlConfig } from '../support/control-config.js';
import { type CountingEnvironmentOptions, countingEnvironment } from '../support/counting-environment.js';
import { silentObserver } from '../support/silent-observer.js';

/** Small decision processes whose values are known, behind a real gRPC server. γ is 0.5, and each step is rewarded with 1. */

const gamma = 0.5;
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

interface Transition {
  readonly state: readonly number[];
  readonly action: number;
  /** The observed step of the episode, before and after. */
  readonly from: number;
  readonly to: number;
  readonly nStepReturn: number;
  /** The weight of what follows. */
  readonly weight: number;
}

/** The transitions of 60 steps with random actions. */
async function transitionsOf(environment: VectorEnvironment, nStep: number) {
  const config = controlConfig({
    // White noise, so that 60 steps hold many different actions in each state.
    learner: { discount: gamma, warmupSteps: 0, explorationCorrelation: 0 },
    replay: { nStep },
  });
  const family = createFamily(config.policy, environment.actionValues);
  const chunk = new ChunkBuilder(environment, 1000);
  const loop = new ActingLoop({
    config,
    environment,
    family,
    key: randomKey(0),
    act: async (_, noise) => noise.map((action) => Math.max(-1, Math.min(1, action))),
    sink: (...transition) => chunk.add(...transition),
    onEpisode: () => {},
  });
  await loop.reset();
  for (let t = 0; t < 60; t++) loop.record(await (await loop.startStep(t, t)).stepped);
  const transitions: Transition[] = [];
  const store = new TransitionStore(1000, environment);
  const { count } = chunk;
  // By way of the bytes that actors send through Redis.
  unpackChunk(chunk.take(), count, environment, (state, action, nStepReturn, weight, next) => {
    transitions.push({
      state: [...state],
      action: action[0],
      from: state[1],
      nStepReturn,
      weight,
      to: next[1],
    });
    store.add(state, action, nStepReturn, weight, next);
  });
  return { transitions, store, family };
}

/** The options of a world, and the value of each observed step of it. All observations of a world of one value are the same. */
type World = readonly [string, CountingEnvironmentOptions, (step: number) => number];

const observe = () => 0;
const worlds: readonly World[] = [
  ['a cut after 4 steps', { length: 4, observe }, () => 2],
  ['a terminal state after 3 steps', { length: 3, end: 'terminated' }, (t) => [1.75, 1.5, 1, 0][t]],
  ['episodes of length 1', { length: 1, end: 'terminated' }, (t) => 1 - t],
  [
    'a discount of 0.5 at each step',
    { length: 20, observe, discount: () => 0.5 },
    () => 1 / (1 - gamma * 0.5),
  ],
  ['a last discount of 0.1', { length: 1, observe, discount: () => 0.1 }, () => 1 / 0.95],
  [
    'a terminal discount of 0.1',
    { length: 1, end: 'terminated', observe, discount: () => 0.1 },
    () => 1 / 0.95,
  ],
  ['a discount of 0 in mid-episode', { length: 20, observe, discount: () => 0 }, () => 1],
];

const returnSteps: readonly (readonly [string, number, Connected])[] = [
  ['1-step returns', 1, { numEnvs: 1 }],
  ['5-step returns', 5, { numEnvs: 2 }],
  ['5-step returns of environments on one stream', 5, { numEnvs: 3, envsPerStream: 3 }],
];

describe.each<World>([
  ...worlds,
  ['a cut after 7 steps, and growing rewards', { length: 7, reward: (t) => t }, (t) => 2 * (t + 2)],
])('the stored targets of a world with %s are its values', (_, world, value) => {
  it.each(returnSteps)('with %s', async (_, nStep, connected) => {
    const { transitions } = await transitionsOf(await connect(world, connected), nStep);
    expect(transitions.length).toBeGreaterThan(50);
    for (const { from, nStepReturn, weight, to } of transitions) {
      expect(nStepReturn + weight * value(to)).toBeCloseTo(value(from), 5);
    }
  });
});

/** The worlds in which critics of each kind learn: all of them for the plainest. */
const critics = [
  ['a critic', { normalizeTargets: false }, worlds],
  ['a critic of normalized targets', { normalizeTargets: true }, worlds.slice(0, 2)],
  [
    'a distributional critic',
    { head: 'categorical', bins: 51, normalizeTargets: true },
    [worlds[0], worlds[1], worlds[4]],
  ],
] as const;

describe.each(
  critics.flatMap(([name, settings, own]) =>
    own.map(([world, ...more]) => [name, world, settings, ...more] as const),
  ),
)('%s learns the values of a world with %s', (_name, _world, settings, world, value) => {
  it.each([returnSteps[0], returnSteps[2]])('from %s', async (_, nStep, connected) => {
    const environment = await connect({ ...world, showsOnlyCount: true }, connected);
    const config = controlConfig({
      policy: { hidden: [8] },
      critic: {
        hidden: [16],
        ensemble: 1,
        learningRate: 5e-2,
        target: { period: 5 },
        ...settings,
      },
    });
    const { transitions, store, family } = await transitionsOf(environment, nStep);
    const engine = await createEngine('onnx', { threads: 1 });
    cleanups.push(() => engine.dispose());
    const spec = { ...environment, config, engine, family, operator: pmpo() };
    const classifier = topKDefinition.create({ accept: 2, reject: 2 }, 4);
    const agent = new Agent({ ...spec, classifier, classifierName: 'top-k' }, randomKey(1));
    const updates = 400;
    const batchSize = 32;
    for (let update = 0; update < updates; update++) {
      const key = foldIn(randomKey(2), update);
      const noise = updateNoise(family, key, [4, batchSize, 1]);
      await agent.update(update, store.sample(key, batchSize), noise, 1 - update / updates);
    }
    const { critics, normalizer, valueNormalizer } = agent.parameters;
    const valuesAt = engine.jit('values', ({ states, actions }: { states: Tensor2D; actions: Tensor3D }) => ({
      values: valuesOf(
        valueNormalizer,
        applyCritic(critics[0], normalized(normalizer, states), actions, config.critic),
      ),
    }));
    const { values } = await valuesAt.run({
      states: {
        shape: [transitions.length, 3],
        data: Float32Array.from(transitions.flatMap(({ state }) => state)),
      },
      actions: {
        shape: [1, transitions.length, 1],
        data: Float32Array.from(transitions, ({ action }) => action),
      },
    });
    for (const state of new Set(transitions.map(({ from }) => from))) {
      // The value of a state is the mean over its actions.
      const own = values.data.filter((_, i) => transitions[i].from === state);
      const learned = own.reduce((sum, each) => sum + each, 0) / own.length;
      expect(Math.abs(learned / value(state) - 1)).toBeLessThan(0.01);
    }
  });
});

it('the stored targets of a repeated action add up its rewards, and multiply its discounts', async () => {
  const world = await connect({ length: 5, discount: () => 0.5 }, { numEnvs: 1, actionRepeat: 2 });
  const { transitions } = await transitionsOf(world, 1);
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
      ...silentObserver,
      metrics: ({ values }) => {
        value = values['critic/value'] ?? value;
      },
    },
    clock: () => 0,
  });
  expect(Math.abs(value / (1 / (1 - gamma * 0.5)) - 1)).toBeLessThan(0.01);
});
