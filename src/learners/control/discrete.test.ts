import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlConfig } from '../../../test/support/control-config.js';
import { silentObserver } from '../../../test/support/silent-observer.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import { createVectorEnvironment } from '../../environments/create-vector-environment.js';
import type { Environment, NamedSpecs, Step } from '../../environments/environment.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { topKDefinition } from '../../feedback/top-k.js';
import { valueBaseline } from '../../feedback/value-baseline.js';
import { pmpo } from '../../operators/pmpo.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { LearnerObserver } from '../../run/observer.js';
import { TrainedPolicy } from './policy.js';
import { trainControl } from './train.js';

const runtime = createRequire(import.meta.url)('onnxruntime-node') as typeof import('onnxruntime-node');

/** Tests of integer actions in a small environment whose action dimensions have different numbers of values. */

const digits = 5;
const length = 12;
/** The dial setting for each digit, in an order that no linear function follows. */
const combination = [3, 0, 4, 1, 2];

const actionSpec: NamedSpecs = {
  dial: { name: 'dial', shape: [], dtype: 'int32', minimum: -2, maximum: 2 },
  // Levers with one, two and three values.
  levers: { name: 'levers', shape: [3], dtype: 'int64', minimum: [7, 0, 1], maximum: [7, 1, 3] },
};

/**
 * A lock that shows a digit. The episode ends unless the dial is set to the digit's combination. Half of the reward depends on
 * the second lever, which must be down for even digits, and half on the third one, which must be in its middle position.
 */
function lock(specs: NamedSpecs = actionSpec): Environment {
  let random = 0;
  let digit = 0;
  let steps = 0;
  const show = () => {
    // The upper bits of a linear congruential generator.
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    digit = Math.floor((random / 2 ** 32) * digits);
    const data = Float32Array.from({ length: digits }, (_, i) => Number(i === digit));
    return { digit: { dtype: 'float32' as const, shape: [digits], data } };
  };
  return {
    observationSpec: { digit: { name: 'digit', shape: [digits], dtype: 'float32' } },
    actionSpec: specs,
    async reset({ seed = 0 } = {}) {
      random = seed >>> 0;
      steps = 0;
      return { observation: show(), info: {} };
    },
    async step({ dial, levers }): Promise<Step> {
      const [first, second, third] = Array.from(levers.data as BigInt64Array, Number);
      if (first !== 7) throw new Error(`lever 0 is ${first}`);
      const isOpen = Number(dial.data[0]) + 2 === combination[digit];
      const reward = isOpen ? (second === digit % 2 ? 0.5 : 0) + (third === 2 ? 0.5 : 0) : 0;
      steps += 1;
      const observation = show();
      return { observation, reward, terminated: !isOpen, truncated: isOpen && steps === length, info: {} };
    },
    async close() {},
  };
}

function environments(numEnvs: number, offset: number, specs?: NamedSpecs): Promise<VectorEnvironment> {
  return createVectorEnvironment({
    connect: async () => lock(specs),
    numEnvs,
    episodeSeed: (env, episode) => offset + env * 10_007 + episode * 101,
    reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
    notice: () => {},
  });
}

const config = controlConfig({
  policy: { hidden: [32], layerNorm: false },
  critic: { hidden: [32, 32], layerNorm: false, learningRate: 3e-3, target: { period: 25 } },
  reference: { period: 25 },
  learner: {
    environmentSteps: 6000,
    warmupSteps: 800,
    batchSize: 64,
    stepsPerUpdate: 4,
    learningRate: 3e-3,
    discount: 0.9,
  },
  replay: { nStep: 3 },
  evaluation: { every: 6000, episodes: 16 },
  checkpoint: { every: 6000 },
});

/** The two ways to evaluate integer actions: samples of the policy, ranked, or all 30 actions, each against the state's value. */
const ways = [
  { way: 'samples', allActionsUpTo: 0, classifier: topKDefinition.create({ accept: 2, reject: 2 }, 4) },
  { way: 'all actions', allActionsUpTo: 30, classifier: valueBaseline() },
];

describe.each(ways)('a policy that chooses among integers by $way', ({ allActionsUpTo, classifier }) => {
  let engine: Engine;
  let checkpoint: Checkpoint;
  let returns: readonly number[];

  beforeAll(async () => {
    engine = await createEngine('onnx', { threads: 1 });
    const observer: LearnerObserver = {
      ...silentObserver,
      checkpoint: async (_steps, saved) => {
        checkpoint = saved;
      },
    };
    const result = await trainControl({
      config: { ...config, learner: { ...config.learner, allActionsUpTo } },
      engine,
      environment: await environments(8, 0),
      evaluationEnvironment: await environments(4, 5_000_003),
      // With a KL of weight 1 the choices settle before the critics can tell them apart.
      operator: pmpo({ kl: { categorical: 8 } }),
      classifier,
      observer,
      clock: () => 0,
    });
    returns = result.evaluation.scores;
  });
  afterAll(() => engine.dispose());

  it('learns the right value in every dimension, from rewards and from ends of episodes', () => {
    expect(config.policy.head).toBe('auto');
    // The lock is opened at every step of every episode, with both levers right.
    expect(returns).toEqual(Array(16).fill(length));
  });

  it('keeps the number of values of each action in a checkpoint', async () => {
    const other = await createEngine('onnx', { threads: 1 });
    try {
      const policy = TrainedPolicy.fromCheckpoint(other, config, checkpoint);
      expect([...policy.shape.actionValues]).toEqual([5, 1, 2, 3]);
      expect(await policy.evaluate(await environments(4, 5_000_003), 16)).toEqual(returns);
      const narrower = { ...actionSpec, dial: { ...actionSpec.dial, maximum: 1 } };
      await expect(policy.evaluate(await environments(1, 0, narrower), 1)).rejects.toThrow(
        /its actions take 4,1,2,3 values .* but those of the policy take 5,1,2,3/,
      );
    } finally {
      await other.dispose();
    }
  });

  describe('at each digit', () => {
    const observations = Float32Array.from({ length: digits * digits }, (_, i) =>
      Number(Math.floor(i / digits) === i % digits),
    );

    it('takes valid actions, in canonical numbers', async () => {
      const other = await createEngine('cpu');
      const policy = TrainedPolicy.fromCheckpoint(other, config, checkpoint);
      const expected = combination.flatMap((value, digit) => [value / 2 - 1, 0, digit % 2 === 0 ? -1 : 1, 0]);
      expect([...(await policy.act(observations, digits))]).toEqual(expected);
      await other.dispose();
    });

    it('is exported as a model whose actions are integers', async () => {
      const other = await createEngine('onnx', { threads: 1 });
      const model = await TrainedPolicy.fromCheckpoint(other, config, checkpoint).exportOnnx();
      await other.dispose();
      const session = await runtime.InferenceSession.create(model);
      const observation = new runtime.Tensor('float32', observations, [digits, digits]);
      const { action } = await session.run({ observation });
      const expected = combination.flatMap((value, digit) => [value - 2, 7, digit % 2, 2]);
      expect([...(action.data as Float32Array)]).toEqual(expected);
      await session.release();
    });
  });
});
