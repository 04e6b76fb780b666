import { beforeAll, describe, expect, it } from 'vitest';
import { type BatchInputs, policyBatch, solve, tensors } from '../../test/references/batch.js';
import { expectClose, type Numbers, readFixture, tensor } from '../../test/references/read.js';
import { gaussian } from '../distributions/gaussian.js';
import type { Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { dpo, dpoSettings } from './dpo.js';
import type { OperatorBatch } from './operator.js';

interface Fixture {
  readonly pairs: {
    readonly beta: number;
    readonly logProb: Numbers;
    readonly referenceLogProb: Numbers;
    readonly loss: number;
    readonly gradients: Numbers;
  }[];
  readonly gaussians: (BatchInputs & {
    readonly beta: number;
    readonly mean: Numbers;
    readonly stddev: Numbers;
    readonly referenceMean: Numbers;
    readonly referenceStddev: Numbers;
    readonly chosen: ([number, number] | null)[];
    readonly loss: number;
    readonly gradients: { readonly mean: Numbers; readonly stddev: Numbers };
  })[];
}

// Written by test/references/dpo_torch.py: TRL's formula.
const fixture = readFixture<Fixture>('dpo_torch');

beforeAll(() => tf.setBackend('cpu'));

interface Pairing {
  readonly logProb: Numbers;
  readonly referenceLogProb?: Numbers;
  readonly evaluation: Numbers;
  readonly accept: Numbers;
  readonly reject: Numbers;
  readonly mask?: Numbers;
}

function batchOf(given: Pairing, logProb: Tensor2D): OperatorBatch {
  return {
    logProb,
    referenceLogProb:
      given.referenceLogProb === undefined ? tf.zeros(logProb.shape) : tensor(given.referenceLogProb),
    evaluation: tensor(given.evaluation),
    accept: tensor(given.accept),
    reject: tensor(given.reject),
    mask: given.mask === undefined ? tf.ones(logProb.shape) : tensor(given.mask),
    kl: () => expect.fail('DPO does not read the KL'),
  };
}

/** The loss, d loss / d log-prob [N, B] and the metrics. */
function solved(given: Pairing, beta = 1) {
  const operator = dpo({ beta });
  const logProb = tensor<Tensor2D>(given.logProb);
  const { loss, gradients } = solve(operator, { logProb }, {}, (p) => batchOf(given, p.logProb as Tensor2D));
  const { metrics } = operator.loss(batchOf(given, logProb), {});
  return {
    loss: loss.dataSync()[0],
    gradient: gradients.logProb.arraySync() as number[][],
    metric: (name: string) => metrics[`policy/${name}`].dataSync()[0],
  };
}

/** Which sample of each context the gradient raises and which it lowers. */
function pairsOf(gradient: number[][]): ([number, number] | null)[] {
  return gradient[0].map((_, context) => {
    const column = gradient.map((row) => row[context]);
    const [raised, lowered] = [column.findIndex((g) => g < 0), column.findIndex((g) => g > 0)];
    expect(column.filter((g) => g !== 0)).toHaveLength(raised < 0 ? 0 : 2);
    return raised < 0 ? null : [raised, lowered];
  });
}

describe("DPO's loss", () => {
  it.each(fixture.pairs)("is TRL's on given pairs, gradients included: β = $beta", (expected) => {
    const ones = (expected.logProb as number[][])[0].map(() => 1);
    const zeros = ones.map(() => 0);
    const { loss, gradient } = solved(
      { ...expected, evaluation: [ones, zeros], accept: [ones, zeros], reject: [zeros, ones] },
      expected.beta,
    );
    expectClose(tf.scalar(loss), expected.loss, 'loss');
    expectClose(tf.tensor(gradient), expected.gradients, 'gradient');
  });

  it.each(fixture.gaussians)(
    "is TRL's for a Gaussian policy, in mean and deviation: β = $beta",
    (expected) => {
      const samples = tensor<Tensor3D>(expected.samples);
      const reference = gaussian(tensor(expected.referenceMean), tensor(expected.referenceStddev));
      const parameters = tensors({ mean: expected.mean, stddev: expected.stddev });
      const { loss, gradients } = solve(dpo({ beta: expected.beta }), parameters, {}, (p) =>
        policyBatch(gaussian(p.mean as Tensor2D, p.stddev as Tensor2D), reference, samples, expected),
      );
      expectClose(loss, expected.loss, 'loss');
      expectClose(gradients.mean, expected.gradients.mean, 'gradient of the mean');
      expectClose(gradients.stddev, expected.gradients.stddev, 'gradient of the deviation');
    },
  );

  it.each(fixture.gaussians)('pairs the best accepted with the worst rejected sample: β = $beta', (given) => {
    const logProb = tf.zerosLike(tensor(given.mask)).arraySync() as number[][];
    const { gradient } = solved({ ...given, logProb } as unknown as Pairing);
    expect(pairsOf(gradient)).toEqual(given.chosen);
  });

  it('takes the first of equals', () => {
    const { gradient } = solved({
      logProb: [[0], [0], [0], [0]],
      evaluation: [[5], [5], [1], [1]],
      accept: [[1], [1], [0], [0]],
      reject: [[0], [0], [1], [1]],
    });
    expect(pairsOf(gradient)).toEqual([[0, 2]]);
  });

  it('is the mean over the contexts that have a pair', () => {
    // Contexts: a pair; accepted only; rejected only; a pair whose rejected sample is absent.
    const { loss, gradient, metric } = solved({
      logProb: [
        [1, 9, 9, 9],
        [0, 9, 9, 9],
      ],
      evaluation: [
        [1, 1, 1, 1],
        [0, 0, 0, 0],
      ],
      accept: [
        [1, 1, 0, 1],
        [0, 1, 0, 0],
      ],
      reject: [
        [0, 0, 1, 0],
        [1, 0, 1, 1],
      ],
      mask: [
        [1, 1, 1, 1],
        [1, 1, 1, 0],
      ],
    });
    expect(loss).toBeCloseTo(Math.log1p(Math.exp(-1)), 6);
    expect(pairsOf(gradient)).toEqual([[0, 1], null, null, null]);
    expect(metric('pairRate')).toBe(0.25);
    expect(metric('pairAccuracy')).toBe(1);
    expect(metric('margin')).toBeCloseTo(1, 6);
  });

  it('is exactly 0, with a gradient of exactly 0, without any pair', () => {
    const { loss, gradient } = solved({
      logProb: [[-1], [-2]],
      evaluation: [[1], [0]],
      accept: [[1], [1]],
      reject: [[0], [0]],
    });
    expect(loss).toBe(0);
    expect(gradient.flat().map(Math.abs)).toEqual([0, 0]);
  });

  it('does not see garbage outside the mask', () => {
    const whole: Pairing = {
      logProb: [[-1], [-2], [-7]],
      referenceLogProb: [[-1.5], [-1], [0]],
      evaluation: [[1], [0], [-5]],
      accept: [[1], [0], [0]],
      reject: [[0], [1], [0]],
    };
    const spoiled = Object.fromEntries(
      Object.entries(whole).map(([name, rows]) => [name, [...(rows as Numbers[]).slice(0, 2), [Number.NaN]]]),
    ) as unknown as Pairing;
    const [expected, actual] = [solved(whole), solved({ ...spoiled, mask: [[1], [1], [0]] })];
    expect(actual.loss).toBe(expected.loss);
    expect(actual.gradient).toEqual(expected.gradient);
  });

  it('stays finite for margins far beyond what exp can hold', () => {
    const far = { evaluation: [[1], [0]], accept: [[1], [0]], reject: [[0], [1]] };
    expect(solved({ ...far, logProb: [[500], [-500]] }).loss).toBe(0);
    expect(solved({ ...far, logProb: [[-500], [500]] }).loss).toBe(1000);
  });

  it('keeps the digits of a short and a long sequence, whose log-probs differ by thousands', () => {
    const numbers = { accepted: [-3.1234567, -3.2345678], rejected: [-2000.4375, -2000.3125] } as const;
    const exact = [...numbers.accepted, ...numbers.rejected].map(Math.fround);
    // In float64, of the numbers that float32 holds.
    const margin = exact[0]! - exact[1]! - (exact[2]! - exact[3]!);
    const { loss, gradient } = solved({
      logProb: [[exact[0]!], [exact[2]!]],
      referenceLogProb: [[exact[1]!], [exact[3]!]],
      evaluation: [[1], [0]],
      accept: [[1], [0]],
      reject: [[0], [1]],
    });
    expect(Math.abs(loss! - Math.log1p(Math.exp(-margin)))).toBeLessThan(2e-7);
    expect(Math.abs(gradient[0]![0]! + 1 / (1 + Math.exp(margin)))).toBeLessThan(2e-7);
    // The difference of the two sequences' log-probs, taken first, would lose a part of 1e-4 to rounding.
    const lost = Math.fround(exact[0]! - exact[2]!) - Math.fround(exact[1]! - exact[3]!);
    expect(Math.abs(lost - margin)).toBeGreaterThan(1e-5);
  });
});

it('needs pairs and a positive β', () => {
  expect(dpo().needs).toEqual({ feedback: 'pairs', evaluation: false, kl: 'none' });
  expect(dpoSettings.safeParse({ beta: 0 }).success).toBe(false);
});

describe("DPO's loss on all pairs", () => {
  it('is the mean over contexts of the mean over their accepted and rejected samples', () => {
    const [ratios, accept, reject] = [
      [
        [0.4, -0.2],
        [0.1, 0.6],
        [-0.7, 0.3],
        [Number.NaN, 0.9],
      ],
      [
        [1, 0.5],
        [1, 0],
        [0, 0],
        [0, 0],
      ],
      [
        [0, 0],
        [0, 1],
        [1, 0],
        [0, 1],
      ],
    ];
    const beta = 2;
    const loss = (accepted: number, rejected: number) => Math.log1p(Math.exp(-beta * (accepted - rejected)));
    const expected = ((loss(0.4, -0.7) + loss(0.1, -0.7)) / 2 + (loss(-0.2, 0.6) + loss(-0.2, 0.9)) / 2) / 2;
    const operator = dpo({ beta, pairs: 'all' });
    const logProb = tensor<Tensor2D>(ratios);
    const solution = solve(operator, { logProb }, {}, (p) => ({
      logProb: p.logProb as Tensor2D,
      referenceLogProb: tf.zeros([4, 2]),
      accept: tensor(accept),
      reject: tensor(reject),
    }));
    expect(solution.loss.dataSync()[0]).toBeCloseTo(expected, 6);
    const [first, , , last] = solution.gradients.logProb.arraySync() as number[][];
    expect(first[0]).toBeLessThan(0);
    // A sample that is in no pair may hold anything.
    expect(last[0]).toBe(0);
  });

  it('is that on the best and the worst sample if each context has one of each', () => {
    const given = {
      logProb: [
        [0.3, -0.4],
        [0.1, 0.2],
      ],
      evaluation: [
        [1, 2],
        [0, 3],
      ],
      accept: [
        [1, 0],
        [0, 1],
      ],
      reject: [
        [0, 1],
        [1, 0],
      ],
    };
    const batch = batchOf(given, tensor(given.logProb));
    expect(dpo({ pairs: 'all' }).loss(batch).loss.dataSync()[0]).toBeCloseTo(solved(given).loss, 6);
  });
});
