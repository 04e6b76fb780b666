import { describe, expect, it } from 'vitest';
import { type ControlConfigChanges, controlConfig } from '../../../test/support/control-config.js';
import { ConnectionLostError } from '../../core/errors.js';
import { createEngine } from '../../engine/create.js';
import { createVectorEnvironment } from '../../environments/create-vector-environment.js';
import type { Environment } from '../../environments/environment.js';
import { EpisodeRecorder } from '../../environments/episode-recorder.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import { createFeedbackRegistry } from '../../feedback/registry.js';
import { createOperatorRegistry } from '../../operators/registry.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { LearnerObserver } from '../../run/observer.js';
import { decayStart, learningRateFactor } from '../schedule.js';
import { trainControl } from './train.js';

/** A point on a line that is pushed. The reward is largest at 0; episodes have 30 steps. */
function lineWorld(
  failAt = Number.POSITIVE_INFINITY,
  rewardScale = 1,
  form: 'plain' | 'rich' = 'plain',
): Environment {
  let position = 0;
  let steps = 0;
  let total = 0;
  const isRich = form === 'rich';
  const observation = () => ({
    position: { dtype: 'float32' as const, shape: [2], data: Float32Array.of(position, steps / 30) },
    ...(isRich
      ? {
          pixels: { dtype: 'uint8' as const, shape: [2, 3], data: new Uint8Array(6).fill(8 * steps) },
          third: { dtype: 'int64' as const, shape: [], data: BigInt64Array.of(BigInt(steps % 3)) },
        }
      : {}),
  });
  return {
    observationSpec: {
      position: { name: 'position', shape: [2], dtype: 'float32' },
      ...(isRich
        ? {
            pixels: { name: 'pixels', shape: [2, 3], dtype: 'uint8' },
            third: { name: 'third', shape: [], dtype: 'int64', minimum: 0, maximum: 2 },
          }
        : {}),
    },
    actionSpec: { push: { name: 'push', shape: [1], dtype: 'float32', minimum: -2, maximum: 2 } },
    async reset({ seed = 0 } = {}) {
      position = ((seed % 17) - 8) / 4;
      steps = 0;
      return { observation: observation(), info: {} };
    },
    async step(action) {
      total += 1;
      if (total > failAt) throw new ConnectionLostError({ where: 'test', what: 'gone' });
      position += 0.2 * Number(action.push.data[0]);
      steps += 1;
      return {
        observation: observation(),
        reward: rewardScale * Math.exp(-position * position),
        discount: isRich ? 1 - steps / 60 : undefined,
        terminated: false,
        truncated: steps === 30,
        info: {},
      };
    },
    async close() {},
  };
}

function environments(
  numEnvs: number,
  failAt?: number,
  rewardScale?: number,
  form?: 'plain' | 'rich',
  episodes?: EpisodeRecorder,
) {
  return createVectorEnvironment({
    connect: async (k) => {
      const world = lineWorld(failAt, rewardScale, form);
      return k === 0 && episodes !== undefined ? episodes.wrap(world) : world;
    },
    numEnvs,
    actionRepeat: form === 'rich' ? 2 : 1,
    episodeSeed: (env, episode) => env * 1000 + episode,
    reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
    notice: () => {},
  });
}

const registries = { operators: createOperatorRegistry(), feedback: createFeedbackRegistry() };

interface Job extends ControlConfigChanges {
  readonly operator?: { readonly name: string; readonly [setting: string]: unknown };
}

interface Recorder extends LearnerObserver {
  readonly checkpoints: { environmentSteps: number; checkpoint: Checkpoint }[];
  readonly names: Set<string>;
  readonly evaluations: number[];
  readonly notices: string[];
  readonly episodes: { steps: number; own: number; isBest: boolean }[];
}

function recorder(): Recorder {
  const checkpoints: Recorder['checkpoints'] = [];
  const names = new Set<string>();
  const evaluations: number[] = [];
  const notices: string[] = [];
  const episodes: Recorder['episodes'] = [];
  return {
    checkpoints,
    notices,
    episodes,
    episode: async ({ steps }, { return: own }, isBest) => void episodes.push({ steps, own, isBest }),
    names,
    evaluations,
    progress: () => {},
    metrics: ({ values }) => {
      for (const name of Object.keys(values)) names.add(name);
    },
    evaluation: ({ steps }) => evaluations.push(steps),
    notice: (message) => notices.push(message),
    checkpoint: async (environmentSteps, checkpoint) => {
      // The replay goes on in the same arrays.
      checkpoints.push({ environmentSteps, checkpoint: structuredClone(checkpoint) });
    },
  };
}

async function train(
  { operator: { name, ...settings } = { name: 'pmpo' }, ...changes }: Job = {},
  more: {
    resume?: Checkpoint;
    classifier?: FeedbackClassifier;
    failAt?: number;
    evaluationFailsAt?: number;
    rewardScale?: number;
    form?: 'plain' | 'rich';
    signal?: AbortSignal;
    recorder?: EpisodeRecorder;
  } = {},
) {
  const engine = await createEngine('onnx', { threads: 1 });
  const observer = recorder();
  try {
    const definition = registries.operators.get(name);
    const samples = changes.learner?.samples ?? definition.defaultSamples;
    const feedback = registries.feedback.get('top-k');
    const result = await trainControl({
      config: controlConfig({ ...changes, learner: { ...changes.learner, samples } }),
      engine,
      environment: await environments(3, more.failAt, more.rewardScale, more.form),
      evaluationEnvironment: await environments(2, more.evaluationFailsAt, 1, more.form, more.recorder),
      recorder: more.recorder,
      operator: definition.create(definition.settings.parse(settings)),
      classifier: more.classifier ?? feedback.create(feedback.settings.parse({}), samples),
      classifierName: 'top-k',
      observer,
      resume: more.resume,
      signal: more.signal,
      clock: () => 0,
    });
    return { result, observer, error: undefined };
  } catch (error) {
    return { result: undefined, observer, error: error as Error };
  } finally {
    await engine.dispose();
  }
}

const last = <T>(items: readonly T[]): T => items[items.length - 1];

describe('trainControl', () => {
  it('keeps to its schedule and reports what it did', async () => {
    const { result, observer } = await train();
    expect(result).toMatchObject({ environmentSteps: 450, updates: 195, interrupted: false });
    expect(result?.evaluation.scores).toHaveLength(4);
    expect(observer.checkpoints.map((c) => c.environmentSteps)).toEqual([150, 300, 450]);
    expect(observer.evaluations).toEqual([201, 402, 450]);
    for (const name of [
      'critic/loss',
      'policy/kl/mean',
      'policy/acceptRate',
      'policy/stddev',
      'acting/return',
    ]) {
      expect(observer.names).toContain(name);
    }
  });

  it('records an episode of each evaluation and learns the same, bit for bit', async () => {
    const episodes = new EpisodeRecorder({ notice: () => {} });
    const [plain, recorded] = [await train(), await train({}, { recorder: episodes })];
    expect(recorded.observer.episodes.map(({ steps }) => steps)).toEqual([201, 402, 450]);
    // The first episode of the last evaluation, whose returns are ordered by round.
    expect(last(recorded.observer.episodes).own).toBeCloseTo(recorded.result!.evaluation.scores[0]!, 5);
    expect(recorded.observer.episodes[0]!.isBest).toBe(true);
    expect(recorded.result?.evaluation).toEqual(plain.result?.evaluation);
    expect(recorded.observer.checkpoints).toEqual(plain.observer.checkpoints);
    expect(plain.observer.episodes).toEqual([]);
  });

  it('says that nothing can be learned from rewards that are all the same', async () => {
    const { observer } = await train(
      { learner: { environmentSteps: 3600, stepsPerUpdate: 30 } },
      { rewardScale: 0 },
    );
    expect(observer.notices).toEqual([expect.stringMatching(/^Warning: every return is the same/)]);
  });

  it('says that the policy has stopped exploring, for a weight that ends it, and nothing for one that keeps it', async () => {
    const trainWith = (categorical: number) =>
      train({
        operator: { name: 'pmpo', beta: 1, kl: { categorical } },
        policy: { head: 'categorical', bins: 3, uniformShare: 0 },
        critic: { learningRate: 3e-3, normalizeTargets: false },
        learner: {
          environmentSteps: 5000,
          learningRate: 1e-2,
          stepsPerUpdate: 3,
          explorationCorrelation: 0.8,
          normalizeObservations: false,
        },
        evaluation: { every: 10_000, episodes: 1 },
        checkpoint: { every: 10_000 },
      });
    const { observer } = await trainWith(1);
    expect(observer.notices[0]).toMatch(
      /^Warning: the policy has stopped exploring: its entropy is .* operator\.kl\.categorical=\{epsilon: 0\.001\}/,
    );
    const { observer: exploring } = await trainWith(1000);
    expect(exploring.notices).toEqual([]);
  });

  it.each<[string, Job, ('plain' | 'rich')?]>([
    ['pmpo', {}],
    ['repeated actions, discounts, bytes and categories', { replay: { capacity: 64 } }, 'rich'],
    [
      'mpo with the categorical head',
      { operator: { name: 'mpo' }, policy: { head: 'categorical', hidden: [16] } },
    ],
    ['moving averages', { reference: { rate: 0.05 }, critic: { hidden: [16], target: { rate: 0.1 } } }],
    ['a distributional critic', { critic: { hidden: [16], head: 'categorical', bins: 21 } }],
    ['an adapted KL weight', { operator: { name: 'pmpo', kl: { mean: { epsilon: 0.01 } } } }],
  ])('stopped and resumed, %s ends with the same bytes as without a stop', async (_name, over, form) => {
    const config: Job = over;
    const whole = await train(config, { form });
    const { checkpoint } = whole.observer.checkpoints[1];
    const resumed = await train(config, { resume: checkpoint, form });
    const [expected, got] = [whole, resumed].map(({ observer }) => last(observer.checkpoints).checkpoint);
    expect(Object.keys(got.tensors)).toEqual(Object.keys(expected.tensors));
    for (const [name, tensor] of Object.entries(expected.tensors)) {
      expect(Buffer.from(got.tensors[name].data.buffer).equals(Buffer.from(tensor.data.buffer)), name).toBe(
        true,
      );
      if (name.endsWith('Bytes')) expect(tensor.data).toBeInstanceOf(Uint8Array);
    }
    expect(got.metadata).toEqual(expected.metadata);
  });

  it('gives the same result with a classifier of plain code as with the same one of tensor operations', async () => {
    const plain: FeedbackClassifier = {
      provides: { accepts: true, rejects: true },
      classifyOnHost({ evaluation, samplesPerContext: n, contexts }) {
        const [accept, reject] = [new Float32Array(evaluation.length), new Float32Array(evaluation.length)];
        for (let b = 0; b < contexts; b++) {
          const column = Array.from({ length: n }, (_, i) => i * contexts + b);
          column.sort((i, j) => evaluation[j] - evaluation[i]);
          // Samples that tie across the two halves, such as those beyond the same bound, are neither.
          const middle = evaluation[column[1]] === evaluation[column[2]] ? evaluation[column[1]] : undefined;
          for (const [rank, i] of column.entries()) {
            if (evaluation[i] !== middle) (rank < 2 ? accept : reject)[i] = 1;
          }
        }
        return { accept, reject };
      },
    };
    const [tensor, host] = [await train(), await train({}, { classifier: plain })];
    const [a, b] = [tensor, host].map(({ observer }) => last(observer.checkpoints).checkpoint.tensors);
    const names = Object.keys(a).filter((name) => name.startsWith('policy/'));
    expect(names.length).toBeGreaterThan(4);
    for (const name of names) {
      const distances = Array.from(a[name].data, (value, i) => Math.abs(value - b[name].data[i]));
      expect(Math.max(...distances)).toBeLessThan(1e-3);
    }
  });

  it('names the classifier that returns NaN, and learns nothing from it', async () => {
    const broken: FeedbackClassifier = {
      provides: { accepts: true, rejects: true },
      classifyOnHost: ({ evaluation }) => ({
        accept: evaluation.map(() => Number.NaN),
        reject: evaluation.map(() => 0),
      }),
    };
    const { error } = await train({}, { classifier: broken });
    expect(error?.message).toMatch(/feedback 'top-k': accept is NaN for sample 0 of context 0/);
  });

  it('stops with the metric and the update when the parameters diverge', async () => {
    const { error } = await train({}, { rewardScale: 1e30 });
    expect(error?.message).toMatch(/update \d+: .* is (NaN|-?Infinity): the parameters have diverged/);
  });

  it('saves a checkpoint when the connection stays lost, from which it can resume', async () => {
    const config: Job = {};
    const { error, observer } = await train(config, { failAt: 70 });
    expect(error).toBeInstanceOf(ConnectionLostError);
    const saved = last(observer.checkpoints);
    expect(saved.environmentSteps).toBe(210);
    const { result } = await train(config, { resume: saved.checkpoint });
    expect(result?.environmentSteps).toBe(450);
  });

  it('saves a checkpoint when the connection is lost in an evaluation, which the resumed job repeats', async () => {
    const config: Job = {};
    const { error, observer } = await train(config, { evaluationFailsAt: 3 });
    expect(error).toBeInstanceOf(ConnectionLostError);
    expect(observer.evaluations).toEqual([]);
    const saved = last(observer.checkpoints);
    expect(saved.environmentSteps).toBe(201);
    const whole = await train(config);
    const resumed = await train(config, { resume: saved.checkpoint });
    expect(whole.observer.evaluations).toEqual([201, 402, 450]);
    expect(resumed.observer.evaluations).toEqual([201, 402, 450]);
    expect(resumed.result).toEqual(whole.result);
    expect(last(resumed.observer.checkpoints)).toEqual(last(whole.observer.checkpoints));
  });

  it('saves a checkpoint and returns when it is interrupted', async () => {
    const { result, observer } = await train({}, { signal: AbortSignal.abort() });
    expect(result?.interrupted).toBe(true);
    expect(observer.checkpoints).toHaveLength(1);
  });

  it('refuses a checkpoint of another configuration, naming the tensor', async () => {
    const { observer } = await train();
    const resume = last(observer.checkpoints).checkpoint;
    const { error } = await train({ policy: { hidden: [8, 8] } }, { resume });
    expect(error?.message).toMatch(/checkpoint, policy\/.*shape/);
  });
});

describe('learningRateFactor', () => {
  it('is 1, then falls linearly to a twentieth', () => {
    expect([0, 0.5, 0.75, 1].map((p) => learningRateFactor(p, 0.5))).toEqual([1, 1, 0.5, 0.05]);
    expect(learningRateFactor(1, 1)).toBe(1);
  });

  it('decays no sooner than after 1,000 updates, so that a short run is like the beginning of a long one', () => {
    const start = (environmentSteps: number) =>
      decayStart({ decayFrom: 0.5, warmupSteps: 1000, stepsPerUpdate: 2, environmentSteps });
    expect(start(50_000)).toBe(0.5);
    expect(start(4000)).toBe(0.75);
    for (const steps of [1500, 2000]) expect(learningRateFactor(steps / 2000, start(2000))).toBe(1);
  });
});
