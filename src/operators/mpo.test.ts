import { beforeAll, describe, expect, it } from 'vitest';
import { normal } from '../../test/engine/agreement.js';
import {
  type BatchInputs,
  expectSolution,
  policyBatch,
  type SolvedCase,
  solve,
  tensors,
} from '../../test/references/batch.js';
import { type Numbers, readFixture, tensor } from '../../test/references/read.js';
import { categoricalFamily } from '../distributions/categorical.js';
import { gaussian } from '../distributions/gaussian.js';
import type { Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { type MpoSettings, mpo, mpoDefinition } from './mpo.js';

interface Case extends SolvedCase {
  readonly inputs: BatchInputs & {
    readonly referenceMean: Numbers;
    readonly referenceStddev: Numbers;
    readonly referenceLogits: Numbers;
    readonly bins?: number;
  };
}

interface Fixture {
  readonly settings: { epsilon: number; penaltyEpsilon: number; kl: Record<string, number> };
  readonly cases: Record<string, Case>;
}

// Written by test/references/mpo_rlax.py.
const { settings, cases } = readFixture<Fixture>('mpo_rlax');
const bounds = Object.entries(settings.kl).map(([part, epsilon]) => [part, { epsilon, initialWeight: 1 }]);
const operator = mpo({
  epsilon: settings.epsilon,
  kl: Object.fromEntries(bounds) as MpoSettings['kl'],
  actionPenalty: { epsilon: settings.penaltyEpsilon },
});

beforeAll(() => tf.setBackend('cpu'));

/** Bin numbers as the actions that stand for them. */
function toActions(indices: Tensor3D, bins: number): Tensor3D {
  return tf.sub(tf.mul(indices, 2 / (bins - 1)), 1) as Tensor3D;
}

describe('MPO', () => {
  it.each(Object.entries(cases))("has rlax's loss and gradients: %s", (_, expected) => {
    const { inputs } = expected;
    const samples = tensor<Tensor3D>(inputs.samples);
    const solution = solve(operator, tensors(expected.parameters), tensors(expected.state), (p) => {
      if (inputs.bins === undefined) {
        const reference = gaussian(tensor(inputs.referenceMean), tensor(inputs.referenceStddev));
        return policyBatch(gaussian(p.mean as Tensor2D, p.stddev as Tensor2D), reference, samples, inputs);
      }
      const family = categoricalFamily({ bins: Array(samples.shape[2]).fill(inputs.bins) });
      const policy = family.create(p.logits as Tensor2D, samples.shape[2]);
      const reference = family.create(tensor(inputs.referenceLogits), samples.shape[2]);
      return policyBatch(policy, reference, toActions(samples, inputs.bins), inputs);
    });
    expectSolution(solution, expected);
  });

  it('keeps garbage outside the mask from loss and gradients', () => {
    const expected = cases['Gaussian, unequal numbers of samples'];
    const { inputs } = expected;
    const samples = tensor<Tensor3D>(inputs.samples);
    const absent = tf.equal(tensor<Tensor2D>(inputs.mask), 0);
    const spoil = (values: Tensor2D) =>
      tf.where(absent, tf.fill(values.shape, Number.NaN), values) as Tensor2D;
    const solution = solve(operator, tensors(expected.parameters), tensors(expected.state), (p) => {
      const reference = gaussian(tensor(inputs.referenceMean), tensor(inputs.referenceStddev));
      const policy = gaussian(p.mean as Tensor2D, p.stddev as Tensor2D);
      const batch = policyBatch(policy, reference, samples, inputs);
      return {
        ...batch,
        logProb: spoil(batch.logProb),
        referenceLogProb: spoil(batch.referenceLogProb),
        evaluation: spoil(batch.evaluation),
        boundViolation: spoil(batch.boundViolation!),
        accept: spoil(batch.accept),
        reject: spoil(batch.reject),
      };
    });
    expectSolution(solution, expected);
  });

  it('takes a mask of weights for as many samples as the weights say', () => {
    const random = (name: string, ...shape: number[]) => tf.tensor(normal(name, ...shape).data, shape);
    const [evaluation, logProb] = [random('f', 3, 4) as Tensor2D, random('logProb', 3, 4) as Tensor2D];
    // Of each context's six samples, one is the first, two are the second, and three are the third.
    const copies = [0, 1, 1, 2, 2, 2];
    const repeated = (values: Tensor2D) => tf.gather(values, copies) as Tensor2D;
    const shares = tf.tile(tf.tensor2d([1 / 6, 2 / 6, 3 / 6], [3, 1]), [1, 4]) as Tensor2D;
    const rule = mpo({ actionPenalty: null });
    const state = { logTemperature: tf.tensor1d([0.3]) };
    const kl = { exact: true, parts: {} };
    const loss = (f: Tensor2D, mask?: Tensor2D) => (x: tf.Tensor) =>
      rule.loss({ logProb: x as Tensor2D, evaluation: f, kl, mask }, state).loss;
    const weighted = tf.valueAndGrad(loss(evaluation, shares))(logProb);
    const single = tf.valueAndGrad(loss(repeated(evaluation)))(repeated(logProb));
    expect(weighted.value.dataSync()[0]).toBeCloseTo(single.value.dataSync()[0]!, 5);
    // The gradient of a sample is the sum of those of its copies.
    const sums = tf.unsortedSegmentSum(single.grad, tf.tensor1d(copies, 'int32'), 3).dataSync();
    for (const [i, value] of weighted.grad.dataSync().entries()) expect(value).toBeCloseTo(sums[i]!, 5);
  });

  it('starts its duals where the settings say, one for each dimension', () => {
    const state = mpo().initialState({ klParts: { mean: 3, covariance: 3 } });
    const values = Object.entries(state).map(([name, { shape, data }]) => [
      name,
      shape,
      [...data].map(Math.exp).map((value) => Math.round(value * 1e3) / 1e3),
    ]);
    expect(values).toEqual([
      ['logTemperature', [1], [10]],
      ['logPenaltyTemperature', [1], [10]],
      ['logKlWeight/mean', [3], [1, 1, 1]],
      ['logKlWeight/covariance', [3], [100, 100, 100]],
    ]);
  });

  it('has no temperature for the action bounds when the penalty is off', () => {
    const off = mpo({ actionPenalty: null });
    expect(Object.keys(off.initialState({ klParts: {} }))).toEqual(['logTemperature']);
  });

  it('keeps the logarithms of duals within ±18', () => {
    const projected = operator.projectState!({ 'logKlWeight/mean': tf.tensor1d([-100, 2, 40]) });
    expect([...projected['logKlWeight/mean'].dataSync()]).toEqual([-18, 2, 18]);
  });

  it('asks for evaluations, an exact KL and no feedback', () => {
    expect(operator.needs).toEqual({
      feedback: 'none',
      evaluation: true,
      referenceLogProb: false,
      kl: 'exact',
      comparesSamples: true,
      imitatesUnranked: true,
    });
    expect(mpoDefinition.defaultSamples).toBe(20);
  });
});
