import { beforeAll, describe, expect, it } from 'vitest';
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

  it('starts its duals where the settings say, one for each dimension', () => {
    const state = mpo().initialState({ klParts: { mean: 3, covariance: 3 } });
    const values = Object.entries(state).map(([name, { shape, data }]) => [
      name,
      shape,
      [...tf.softplus(tf.tensor(data)).dataSync()].map((value) => Math.round(value * 1e3) / 1e3),
    ]);
    expect(values).toEqual([
      ['temperature', [1], [10]],
      ['penaltyTemperature', [1], [10]],
      ['kl/mean', [3], [10, 10, 10]],
      ['kl/covariance', [3], [1000, 1000, 1000]],
    ]);
  });

  it('has no temperature for the action bounds when the penalty is off', () => {
    const off = mpo({ actionPenalty: null });
    expect(Object.keys(off.initialState({ klParts: {} }))).toEqual(['temperature']);
  });

  it('brings duals that ran off back to where softplus still has a slope', () => {
    const projected = operator.projectState!({ 'kl/mean': tf.tensor1d([-100, 2]) });
    expect([...projected['kl/mean'].dataSync()]).toEqual([-18, 2]);
  });

  it('asks for evaluations, an exact KL and no feedback', () => {
    expect(operator.needs).toEqual({
      feedback: 'none',
      evaluation: true,
      referenceLogProb: false,
      kl: 'exact',
    });
    expect(mpoDefinition.defaultSamples).toBe(20);
  });
});
