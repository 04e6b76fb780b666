import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fillNormal, foldIn, randomKey } from '../../core/random-keys.js';
import { median } from '../../core/statistics.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import * as tf from '../../engine/tf.js';
import { median as medianFeedback } from '../../feedback/median.js';
import { topK } from '../../feedback/top-k.js';
import { dpo } from '../../operators/dpo.js';
import { mpo } from '../../operators/mpo.js';
import { pmpo } from '../../operators/pmpo.js';
import { vMpo } from '../../operators/v-mpo.js';
import type { BanditLearnerConfig, BanditMethod, SearchTrace, TrainBanditOptions } from './config.js';
import { rosenbrock, schwefel, sphere } from './functions.js';
import { createPolicy } from './policy.js';
import { trainBandit } from './train.js';

const config: BanditLearnerConfig = {
  dimensions: 2,
  policy: { head: 'gaussian', initialStddev: 0.3 },
  reference: { period: 20, copies: 5 },
  learner: { samples: 4, contexts: 1, decayFrom: 1 },
};

const both: BanditMethod = { name: 'both', operator: pmpo({ alpha: 0.5, beta: 1 }), learningRate: 0.01 };
const rejects = (beta: number): BanditMethod => ({
  name: `rejects ${beta}`,
  operator: pmpo({ alpha: 0, beta }),
  learningRate: 0.01,
});
const pairs: BanditMethod = { name: 'pairs', operator: dpo({ beta: 1 }), learningRate: 0.003 };

let engines: Engine[] = [];
beforeAll(() => {
  engines = [];
});
afterAll(async () => {
  for (const engine of engines) await engine.dispose();
});

async function search(options: Partial<TrainBanditOptions>) {
  const engine = await createEngine('auto', { threads: 1 });
  engines.push(engine);
  return trainBandit({
    engine,
    config,
    functions: [sphere],
    methods: [both],
    seeds: [0, 1, 2],
    classifier: topK(),
    ...options,
  });
}

const last = ({ points }: SearchTrace) => points[points.length - 1];
const medianOf = (traces: readonly SearchTrace[], method: string) =>
  median(traces.filter((trace) => trace.method === method).map((trace) => last(trace).value));

describe('trainBandit', () => {
  it('finds the minimum of the sphere with accepted and rejected samples', async () => {
    const { traces, evaluations } = await search({
      config: { ...config, reference: { period: 20, copies: 60 } },
    });
    expect(evaluations.slice(0, 3)).toEqual([0, 80, 160]);
    for (const trace of traces) {
      expect(trace.outcome).toBe('finished');
      expect(trace.points).toHaveLength(61);
      expect(last(trace).value).toBeLessThan(0.05);
      // The value is that of the mode, in the units of the function.
      const [x = 0, y = 0] = last(trace).mode.map((coordinate) => 5.12 * coordinate);
      expect(last(trace).value).toBeCloseTo(x ** 2 + y ** 2, 5);
    }
  });

  it('learns from rejected samples alone if β is large, and loses the policy if it is small', async () => {
    const { traces } = await search({
      methods: [rejects(0.5), rejects(2)],
      config: { ...config, reference: { period: 20, copies: 60 } },
    });
    expect(medianOf(traces, 'rejects 2')).toBeLessThan(0.1);
    for (const { method, outcome } of traces) {
      if (method === 'rejects 2') expect(outcome).toBe('finished');
      else expect(outcome).not.toBe('finished');
    }
    expect(medianOf(traces, 'rejects 0.5')).toBeGreaterThan(100);
  });

  it.each([
    pairs,
    // The temperature and the duals are of each problem, too.
    { name: 'mpo', operator: mpo({ actionPenalty: null }), learningRate: 0.02 },
  ])('makes the same search alone as among others, one of which is lost: $name', async (method) => {
    const together = await search({
      functions: [sphere, rosenbrock, schwefel],
      methods: [rejects(0.2), method, both],
      seeds: [4, 5, 6],
      config: { ...config, reference: { period: 20, copies: 40 } },
    });
    const alone = await search({
      functions: [rosenbrock],
      methods: [method],
      seeds: [5],
      config: { ...config, reference: { period: 20, copies: 40 } },
    });
    expect(together.traces.some(({ outcome }) => outcome !== 'finished')).toBe(true);
    const same = together.traces.find(
      (trace) => trace.method === method.name && trace.function === 'rosenbrock' && trace.seed === 5,
    )!;
    // A difference in the last digit grows from update to update.
    same.points.slice(0, 3).forEach(({ mode, stddev }, i) => {
      mode.forEach((coordinate, d) => {
        expect(coordinate).toBeCloseTo(alone.traces[0]!.points[i]!.mode[d]!, 4);
      });
      expect(stddev).toBeCloseTo(alone.traces[0]!.points[i]!.stddev, 4);
    });
  });

  it('gives the same numbers each time', async () => {
    const [first, second] = [await search({}), await search({})];
    expect(second).toEqual(first);
  });

  it('makes the steps that Adam makes on the loss of each operator by itself', async () => {
    const contexts = 2;
    const { traces } = await search({
      methods: [pairs, both],
      seeds: [7],
      config: {
        ...config,
        reference: { period: 10, copies: 2 },
        learner: { ...config.learner, contexts },
      },
    });
    for (const method of [pairs, both]) {
      const trace = traces.find(({ method: name }) => name === method.name)!;
      expect(trace.points.map(({ mode }) => mode)).toEqual(
        plainModes(method, contexts).map((mode) => mode.map((value) => expect.closeTo(value, 4))),
      );
    }
  });

  it('searches values of a discretised domain', async () => {
    const { traces } = await search({
      functions: [sphere, rosenbrock],
      config: {
        ...config,
        policy: { head: 'categorical', bins: 21 },
        reference: { period: 20, copies: 60 },
      },
      methods: [{ ...both, learningRate: 0.05 }],
    });
    const ofSphere = traces.filter(({ function: name }) => name === 'sphere');
    // The best value is 0, and its neighbours are at a distance of a tenth of the half-width.
    for (const trace of ofSphere) expect(last(trace).value).toBeLessThanOrEqual(2 * 0.512 ** 2 + 1e-4);
    expect(traces.every(({ points }) => points.every(({ value }) => Number.isFinite(value)))).toBe(true);
  });

  it('makes the same search with a classifier of plain code', async () => {
    const onHost = await search({
      classifier: {
        provides: { accepts: true, rejects: true },
        classifyOnHost({ evaluation, samplesPerContext, contexts }) {
          const accept = new Float32Array(evaluation.length);
          for (let b = 0; b < contexts; b++) {
            const values = Array.from({ length: samplesPerContext }, (_, n) => evaluation[n * contexts + b]!);
            const middle = median(values);
            values.forEach((value, n) => {
              accept[n * contexts + b] = Number(value > middle);
            });
          }
          return { accept, reject: accept.map((weight) => 1 - weight) };
        },
      },
    });
    const traced = await search({ classifier: medianFeedback() });
    for (const [i, { points }] of traced.traces.entries()) {
      expect(last(onHost.traces[i]!).value).toBeCloseTo(points[points.length - 1]!.value, 4);
    }
  });

  it('refuses a function that needs more dimensions', async () => {
    await expect(search({ functions: [rosenbrock], config: { ...config, dimensions: 1 } })).rejects.toThrow(
      'function rosenbrock: it needs 2 dimensions, not 1',
    );
  });

  it('refuses an operator that would mix the problems of a batch, and takes it for a single one', async () => {
    const methods = [{ name: 'v-mpo', operator: vMpo(), learningRate: 0.01 }];
    await expect(search({ methods })).rejects.toThrow('v-mpo treats the contexts of a batch together');
    const { traces } = await search({ methods, seeds: [1] });
    expect(traces[0]!.outcome).toBe('finished');
  });

  it('stops when it is told to', async () => {
    await expect(search({ signal: AbortSignal.abort() })).rejects.toThrow('the search was stopped');
  });
});

/** The modes of seed 7 on the sphere by a plain loop of TensorFlow.js with its own Adam, at the start and after each copy. */
function plainModes({ operator, learningRate }: BanditMethod, contexts: number): number[][] {
  const policy = createPolicy(config.policy, 2);
  const start = Array.from(policy.initial(randomKey(7)));
  const mean = tf.variable(tf.tensor2d(start.slice(0, 2), [1, 2]));
  const logStddev = tf.variable(tf.tensor2d(start.slice(2), [1, 2]));
  const adam = tf.train.adam(learningRate, 0.9, 0.999, 1e-8);
  const modes = [Array.from(mean.dataSync())];
  for (let copy = 0; copy < 2; copy++) {
    const [oldMean, oldStddev] = [mean.clone(), tf.exp(logStddev)];
    for (let i = 0; i < 10; i++) {
      const key = foldIn(foldIn(randomKey(7), 'noise'), copy * 10 + i);
      const noise = tf.tensor3d(fillNormal(key, new Float32Array(4 * contexts * 2)), [4, contexts, 2]);
      const samples = tf.add(oldMean, tf.mul(oldStddev, noise)) as tf.Tensor3D;
      const evaluation = tf.neg(tf.sum(tf.square(tf.mul(samples, 5.12)), -1)) as tf.Tensor2D;
      const { accept, reject } = topK().classify({ evaluation });
      const logProbOf = (center: tf.Tensor, stddev: tf.Tensor): tf.Tensor2D =>
        tf.sum(tf.sub(tf.mul(tf.square(tf.div(tf.sub(samples, center), stddev)), -0.5), tf.log(stddev)), -1);
      adam.minimize(
        () => {
          const stddev = tf.exp(logStddev);
          const kl = tf.add(
            tf.sub(tf.log(stddev), tf.log(oldStddev)),
            tf.sub(
              tf.div(
                tf.add(tf.square(oldStddev), tf.square(tf.sub(oldMean, mean))),
                tf.mul(tf.square(stddev), 2),
              ),
              0.5,
            ),
          );
          return operator.loss({
            logProb: logProbOf(mean, stddev),
            referenceLogProb: logProbOf(oldMean, oldStddev),
            evaluation,
            accept,
            reject,
            kl: { exact: true, parts: { whole: tf.tile(kl, [contexts, 1]) as tf.Tensor2D } },
          }).loss;
        },
        false,
        [mean, logStddev],
      );
    }
    modes.push(Array.from(mean.dataSync()));
  }
  return modes;
}
