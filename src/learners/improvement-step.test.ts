import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { fillNormal, foldIn, randomKey } from '../core/random-keys.js';
import { gaussian } from '../distributions/gaussian.js';
import { createAdam } from '../engine/adam.js';
import { createEngine } from '../engine/create.js';
import type { Engine, EngineName } from '../engine/engine.js';
import type { Scalar, Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { FeedbackClassifier, FeedbackInput } from '../feedback/classifier.js';
import { topK } from '../feedback/top-k.js';
import { defineOperator } from '../operators/define.js';
import type { Operator } from '../operators/operator.js';
import { pmpo } from '../operators/pmpo.js';
import { ImprovementStep, TrainedOperator } from './improvement-step.js';

const engines: Engine[] = [];
afterAll(async () => {
  for (const engine of engines) await engine.dispose();
});

/** Shapes: N samples, B contexts, A dimensions of a point. */
const [N, B, A] = [4, 8, 2];
/** The best point. */
const target = [1.5, -1];
const noise = (update: number) => ({
  shape: [N, B, A],
  data: fillNormal(foldIn(randomKey(5), update), new Float32Array(N * B * A)),
});

/** The 2 best of 4 samples accepted and the others rejected, in plain code. */
const bestTwoOnHost: FeedbackClassifier = {
  provides: { accepts: true, rejects: true },
  classifyOnHost({ evaluation }) {
    const accept = new Float32Array(N * B);
    for (let b = 0; b < B; b++) {
      const column = Array.from({ length: N }, (_, n) => n * B + b);
      column.sort((i, j) => evaluation[j] - evaluation[i]);
      for (const i of column.slice(0, 2)) accept[i] = 1;
    }
    return { accept, reject: accept.map((weight) => 1 - weight) };
  },
};

type Drawn = FeedbackInput & { readonly points: Tensor3D };

interface BanditOptions {
  readonly classifier?: FeedbackClassifier;
  readonly operator?: Operator;
  readonly engineName?: EngineName;
  /** Multiplies the evaluations. */
  readonly scale?: number;
}

/** A bandit: a Gaussian over points, whose mean is improved by the points' distance from the target. */
async function bandit({
  classifier = topK({ accept: 2, reject: 2 }) as FeedbackClassifier,
  operator = pmpo({ beta: 0.5 }),
  engineName = 'onnx',
  scale = 1,
}: BanditOptions = {}) {
  const engine = await createEngine(engineName, { threads: 1 });
  engines.push(engine);
  const mean = engine.variable('mean', { shape: [A], data: new Float32Array(A) });
  const reference = engine.variable('reference', { shape: [A], data: new Float32Array(A) });
  const adam = createAdam(engine, 'adam', { mean }, { learningRate: 0.1 });
  const trained = new TrainedOperator({
    engine,
    operator,
    policyShape: { klParts: { mean: A, covariance: A } },
    learningRate: 1e-2,
    names: { state: 'operator', optimizer: 'operator/adam' },
  });
  const policy = (center: tf.Tensor) =>
    gaussian(tf.tile(tf.reshape(center, [1, A]), [B, 1]) as Tensor2D, tf.fill([B, A], 0.5) as Tensor2D);
  const step = new ImprovementStep({
    engine,
    classifier,
    classifierName: 'judge',
    evaluate: (inputs: { readonly noise: Tensor3D }): Drawn => {
      const points = policy(reference).sample(inputs.noise);
      const distance = tf.sum(tf.squaredDifference(points, tf.tensor1d(target)), -1);
      const evaluation = tf.mul(tf.neg(distance), scale) as Tensor2D;
      return {
        points,
        samples: points,
        contexts: tf.zeros([B, 1]),
        evaluation,
        baseline: tf.mean<Tensor1D>(evaluation, 0),
        mask: tf.onesLike(evaluation),
      };
    },
    improve: ({ points, evaluation, accept, reject, mask }) => {
      const old = policy(reference);
      const { gradients, metrics } = trained.gradients({ mean }, () => {
        const current = policy(mean);
        return {
          batch: {
            logProb: current.logProb(points),
            referenceLogProb: old.logProb(points),
            evaluation,
            accept,
            reject,
            mask,
            kl: () => ({ exact: true, parts: old.kl(current) }),
          },
        };
      });
      adam.apply(gradients);
      reference.assign(tf.clone(mean));
      return { metrics, results: { accepted: accept } };
    },
  });
  const read = async () => [...(await engine.read([mean]))[0].data];
  return { step, read, trained };
}

async function train(options: BanditOptions, updates: number) {
  const { step, read } = await bandit(options);
  for (let update = 0; update < updates; update++) await step.run({ noise: noise(update) }, update);
  return read();
}

describe('an improvement step', () => {
  it('improves a bandit, in the same way on every engine and with a classifier on the host', async () => {
    const onnx = await train({}, 60);
    const distance = Math.hypot(onnx[0] - target[0], onnx[1] - target[1]);
    expect(distance).toBeLessThan(0.5);
    const others = [
      await train({ classifier: bestTwoOnHost }, 60),
      await train({ engineName: 'cpu' }, 60),
      await train({ engineName: 'cpu', classifier: bestTwoOnHost }, 60),
    ];
    for (const other of others) {
      for (let a = 0; a < A; a++) expect(other[a]).toBeCloseTo(onnx[a], 3);
    }
  });

  it('returns the results of `improve`, and its metrics as numbers', async () => {
    const { step } = await bandit();
    const { results, metrics } = await step.run({ noise: noise(0) }, 0);
    expect(results.accepted.shape).toEqual([N, B]);
    expect(results.accepted.data.reduce((sum, weight) => sum + weight, 0)).toBe(2 * B);
    expect(metrics['policy/acceptRate']).toBe(0.5);
    expect(Object.keys(metrics)).not.toContain('feedback/invalid');
  });

  it('is sequential only with a classifier on the host', async () => {
    expect((await bandit()).step.sequential).toBe(false);
    expect((await bandit({ classifier: bestTwoOnHost })).step.sequential).toBe(true);
  });

  it('shows a classifier of tensor operations nothing but evaluated samples', async () => {
    let seen: string[] = [];
    const watching: FeedbackClassifier = {
      provides: { accepts: true, rejects: true },
      classify: (input) => {
        seen = Object.keys(input).sort();
        return { accept: tf.onesLike(input.evaluation), reject: tf.zerosLike(input.evaluation) };
      },
    };
    await (await bandit({ classifier: watching })).step.run({ noise: noise(0) }, 0);
    expect(seen).toEqual(['baseline', 'contexts', 'evaluation', 'mask', 'samples']);
  });

  it('names the classifier whose weights are invalid, and the update', async () => {
    const broken: FeedbackClassifier = {
      provides: { accepts: true, rejects: true },
      classify: ({ evaluation }) => ({ accept: tf.fill([N, B], 2), reject: tf.zerosLike(evaluation) }),
    };
    const { step } = await bandit({ classifier: broken });
    await expect(step.run({ noise: noise(0) }, 3)).rejects.toThrow(
      new RegExp(`^feedback 'judge': .*${N * B}.* update 3`),
    );
  });

  it('refuses evaluations that are not finite, which a classifier would take for ties', async () => {
    const { step } = await bandit();
    const broken = { shape: [N, B, A], data: new Float32Array(N * B * A).fill(Number.POSITIVE_INFINITY) };
    await expect(step.run({ noise: broken }, 9)).rejects.toThrow(
      new RegExp(`^update 9: ${N * B} evaluations are not finite: the parameters have diverged\\. Lower`),
    );
  });

  it('names the metric that is not finite, and what to do', async () => {
    const operator = pmpo();
    const broken: Operator = {
      ...operator,
      loss: (batch, state) => {
        const { loss, metrics } = operator.loss(batch, state);
        return { loss: tf.div<Scalar>(loss, 0), metrics };
      },
    };
    const { step } = await bandit({ operator: broken });
    await expect(step.run({ noise: noise(0) }, 9)).rejects.toThrow(
      /^update 9: policy\/\S+ is \S+: the parameters have diverged\. Lower learner\.learningRate, or hold/,
    );
  });

  it("writes the total loss as policy/loss, whatever the operator's own metrics say", async () => {
    const operator = pmpo({ beta: 0.5 });
    const shifted: Operator = {
      ...operator,
      loss(batch, state) {
        const { loss, metrics } = operator.loss(batch, state);
        return { loss: tf.add<Scalar>(loss, 1), metrics };
      },
    };
    const lossOf = async (options: BanditOptions) =>
      (await (await bandit(options)).step.run({ noise: noise(0) }, 0)).metrics['policy/loss'];
    expect(await lossOf({ operator: shifted })).toBeCloseTo((await lossOf({ operator })) + 1, 5);
  });

  it('refuses an operator whose loss does not depend on the policy', async () => {
    const operator = defineOperator({
      name: 'unconnected',
      description: 'Reads the log-probs of the reference instead of those of the policy',
      settings: z.strictObject({}),
      create: () => ({
        needs: { feedback: 'accepts', evaluation: false, kl: 'none' },
        initialState: () => ({}),
        loss: ({ referenceLogProb, accept }) => ({
          loss: tf.mean(tf.mul(referenceLogProb, accept)),
          metrics: {},
        }),
      }),
    }).create();
    const { step } = await bandit({ operator });
    await expect(step.run({ noise: noise(0) }, 0)).rejects.toThrow(
      /operator unconnected: its loss does not depend on the policy/,
    );
  });

  it("moves the operator's own state", async () => {
    const operator = pmpo({ kl: { mean: { epsilon: 0.01 } } });
    const { step, trained } = await bandit({ operator });
    expect(Object.keys(trained.state)).toEqual(['logKlWeight/mean']);
    const weights: number[] = [];
    for (let update = 0; update < 3; update++) {
      const { metrics } = await step.run({ noise: noise(update) }, update);
      weights.push(metrics['policy/kl-weight/mean']);
    }
    expect(new Set(weights).size).toBe(3);
  });

  it('moves a dual at one speed, up and down, however far the KL is from its bound', async () => {
    const engine = await createEngine('cpu');
    engines.push(engine);
    const trained = new TrainedOperator({
      engine,
      operator: pmpo({ kl: { mean: { epsilon: 0.01, initialWeight: 1 } } }),
      policyShape: { klParts: { mean: 1 } },
      learningRate: 1e-2,
      names: { state: 'state', optimizer: 'adam/state' },
    });
    const step = engine.jit('moveDual', ({ kl }: { kl: Tensor2D }) => {
      const [logProb, ones]: Tensor2D[] = [tf.zeros([1, 1]), tf.ones([1, 1])];
      trained.gradients({ logProb }, () => ({
        batch: {
          logProb,
          referenceLogProb: ones,
          evaluation: ones,
          accept: ones,
          reject: tf.zerosLike(ones),
          mask: ones,
          kl: () => ({ exact: true, parts: { mean: kl } }),
        },
      }));
      return { dual: tf.clone(trained.state['logKlWeight/mean']!) };
    });
    /** The logarithm of the weight after each of several updates at the same KL. */
    const at = async (value: number, updates: number): Promise<number[]> => {
      const kl = { shape: [1, 1], data: Float32Array.of(value) };
      const duals: number[] = [];
      for (let i = 0; i < updates; i++) duals.push((await step.run({ kl })).dual.data[0]!);
      return duals;
    };
    const duals = [0, ...(await at(0.005, 50)), ...(await at(1, 50)), ...(await at(0.005, 150))];
    const changes = duals.slice(1).map((dual, i) => dual - duals[i]!);
    expect(Math.max(...changes.map(Math.abs))).toBeLessThan(0.0101);
    expect(duals[50]).toBeCloseTo(-0.5, 1);
    expect(duals[100]).toBeGreaterThan(-0.1);
    // A gradient two hundred times as large is forgotten after about a hundred updates.
    expect(duals[250]).toBeLessThan(-0.4);
  });
});
