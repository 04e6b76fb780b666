import { beforeAll, describe, expect, it } from 'vitest';
import {
  type BatchInputs,
  expectSolution,
  policyBatch,
  type SolvedCase,
  solve,
  tensors,
} from '../../test/references/batch.js';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import { expectClose, type Numbers, readFixture, tensor } from '../../test/references/read.js';
import { categoricalFamily } from '../distributions/categorical.js';
import { gaussian } from '../distributions/gaussian.js';
import type { NamedTensors, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { type PmpoSettings, pmpo, pmpoDefinition, pmpoSettings } from './pmpo.js';

interface Case extends SolvedCase {
  readonly settings: object;
  readonly inputs: BatchInputs & {
    readonly referenceMean: Numbers;
    readonly referenceStddev: Numbers;
    readonly referenceLogits: Numbers;
    readonly bins?: number;
  };
}

// Written by test/references/pmpo_jax.py: equation 10 written out.
const cases = readFixture<Record<string, Case>>('pmpo_jax');

beforeAll(() => tf.setBackend('cpu'));

function batchOf({ inputs }: Case, p: NamedTensors) {
  const samples = tensor<Tensor3D>(inputs.samples);
  if (inputs.bins === undefined) {
    const reference = gaussian(tensor(inputs.referenceMean), tensor(inputs.referenceStddev));
    return policyBatch(gaussian(p.mean as Tensor2D, p.stddev as Tensor2D), reference, samples, inputs);
  }
  const family = categoricalFamily({ bins: Array(samples.shape[2]).fill(inputs.bins) });
  const policy = family.create(p.logits as Tensor2D, samples.shape[2]);
  const reference = family.create(tensor(inputs.referenceLogits), samples.shape[2]);
  const actions = tf.sub(tf.mul(samples, 2 / (inputs.bins - 1)), 1) as Tensor3D;
  return policyBatch(policy, reference, actions, inputs);
}

/** Fixtures and tables of settings have no types of their own; the factory checks them. */
const create = (settings: object) => pmpo(settings as PmpoSettings);

/** Loss and d loss / d log-prob of one feedback, without a KL. */
function likelihoodTerm(settings: object, logProb: Numbers, accept: Numbers, reject: Numbers, mask: Numbers) {
  const operator = create({ beta: 0, ...settings });
  const zero = tf.zerosLike(tensor(mask)) as Tensor2D;
  const { loss, gradients } = solve(operator, { logProb: tensor(logProb) }, {}, (p) => ({
    logProb: p.logProb as Tensor2D,
    referenceLogProb: zero,
    evaluation: zero,
    accept: tensor(accept),
    reject: tensor(reject),
    mask: tensor(mask),
    kl: () => ({ exact: true, parts: {} }),
  }));
  return { loss: loss.dataSync()[0], gradient: [...gradients.logProb.dataSync()].map((g) => g + 0) };
}

describe("PMPO's loss", () => {
  it.each(Object.entries(cases))('is equation 10, gradients included: %s', (_, expected) => {
    const operator = create(expected.settings);
    const solution = solve(operator, tensors(expected.parameters), tensors(expected.state), (p) =>
      batchOf(expected, p),
    );
    expectSolution(solution, expected);
  });

  it('does not see garbage outside the mask', () => {
    const expected = cases['unequal numbers of samples'];
    const absent = tf.equal(tensor<Tensor2D>(expected.inputs.mask), 0);
    expect(tf.sum(tf.cast(absent, 'float32')).dataSync()[0]).toBeGreaterThan(0);
    for (const garbage of [Number.NaN, Number.POSITIVE_INFINITY, -1e30]) {
      const spoil = (values: Tensor2D) =>
        tf.where(absent, tf.fill(values.shape, garbage), values) as Tensor2D;
      const solution = solve(create(expected.settings), tensors(expected.parameters), {}, (p) => {
        const batch = batchOf(expected, p);
        return {
          ...batch,
          logProb: spoil(batch.logProb),
          referenceLogProb: spoil(batch.referenceLogProb),
          evaluation: spoil(batch.evaluation),
          accept: spoil(batch.accept),
          reject: spoil(batch.reject),
        };
      });
      expectSolution(solution, expected);
    }
  });

  it('is exactly 0, with a gradient of exactly 0, where no side has samples', () => {
    const logProb = [
      [-1, Number.NEGATIVE_INFINITY],
      [-2, Number.NaN],
    ];
    const none = [
      [0, 0],
      [0, 0],
    ];
    const all = [
      [1, 1],
      [1, 1],
    ];
    for (const alpha of [0, 0.5, 1]) {
      expect(likelihoodTerm({ alpha }, logProb, none, none, all)).toEqual({
        loss: 0,
        gradient: [0, 0, 0, 0],
      });
      expect(likelihoodTerm({ alpha }, logProb, all, all, none)).toEqual({ loss: 0, gradient: [0, 0, 0, 0] });
    }
  });

  it('leaves an empty side out of one context and does not make up for it in the others', () => {
    // Context 0 has an accepted sample only, context 1 a rejected one only.
    const { loss, gradient } = likelihoodTerm({ alpha: 0.25 }, [[-1, -3]], [[1, 0]], [[0, 1]], [[1, 1]]);
    expect(loss).toBeCloseTo((0.25 * 1 + 0.75 * -3) / 2, 6);
    expect(gradient).toEqual([-0.125, 0.375]);
  });

  it('ignores rejected samples at α = 1 and accepted ones at α = 0', () => {
    const [logProb, accept, reject, mask] = [
      [[-1], [-3]],
      [[1], [0]],
      [[0], [1]],
      [[1], [1]],
    ];
    expect(likelihoodTerm({ alpha: 1 }, logProb, accept, reject, mask)).toEqual({
      loss: 1,
      gradient: [-1, 0],
    });
    expect(likelihoodTerm({ alpha: 0 }, logProb, accept, reject, mask)).toEqual({
      loss: -3,
      gradient: [0, 1],
    });
  });
});

describe("PMPO's state", () => {
  it('is empty with fixed weights', () => {
    expect(
      create({ kl: { mean: 1, covariance: 50 } }).initialState({ klParts: { mean: 2, covariance: 2 } }),
    ).toEqual({});
  });

  it('has a dual for each dimension of each bounded part', () => {
    const operator = create({ kl: { mean: { epsilon: 0.01, initialWeight: 3 }, covariance: 50 } });
    const state = operator.initialState({ klParts: { mean: 2, covariance: 2 } });
    expect(Object.keys(state)).toEqual(['logKlWeight/mean']);
    expect(state['logKlWeight/mean'].shape).toEqual([2]);
    for (const stored of state['logKlWeight/mean'].data) expect(Math.exp(stored)).toBeCloseTo(3, 5);
  });
});

describe('what PMPO needs', () => {
  it.each([
    [1, 'accepts'],
    [0, 'rejects'],
    [0.5, 'either'],
  ])('with α = %d is %s', (alpha, feedback) => {
    expect(create({ alpha }).needs).toMatchObject({
      feedback,
      evaluation: false,
      referenceLogProb: false,
      kl: 'any',
      reverseKl: false,
      length: false,
    });
  });

  it('is settings within their ranges', () => {
    for (const wrong of [{ alpha: -0.1 }, { alpha: 1.1 }, { beta: -1 }, { gamma: 1 }, { kl: { mean: -1 } }]) {
      expect(pmpoSettings.safeParse(wrong).success, JSON.stringify(wrong)).toBe(false);
    }
    expect(pmpoSettings.parse({})).toEqual({
      alpha: 0.5,
      kl: {},
      reverseKl: false,
      normalise: 'context',
      perToken: false,
    });
    expect(pmpoDefinition.defaultSamples).toBe(4);
  });

  it('is completed by the kind of policy: bounds for actions, a weight for sequences', () => {
    const actions = ['mean', 'covariance', 'categorical'];
    const complete = (settings: object, parts: readonly string[]) => pmpoDefinition.complete(settings, parts);
    const bounds = complete({}, actions).kl as Record<string, object>;
    expect(Object.keys(bounds)).toEqual(actions);
    for (const bound of Object.values(bounds)) expect(bound).toHaveProperty('epsilon');
    expect(complete({}, ['sequence'])).toMatchObject({ alpha: 0.5, beta: 1, kl: {} });
    // A weight that is set holds for every part, and a part that is set keeps its own.
    expect(complete({ beta: 2 }, actions)).toMatchObject({ alpha: 0.5, beta: 2, kl: {} });
    expect(complete({ kl: { covariance: 50 } }, actions).kl).toEqual({ ...bounds, covariance: 50 });
  });
});

describe("PMPO's warnings", () => {
  const warnings = (settings: object, rejectShare?: number) =>
    create(settings).warnings!({ samples: 4, rejectShare });

  it('say that the likelihood of rejected samples falls without end where their weight is less than 0', () => {
    expect(warnings({ alpha: 0, beta: 1.5 }, 0.5)).toEqual([
      'operator.beta = 1.5 with operator.alpha = 0 and a share of 0.5 rejected: the weight on rejected samples is -0.25 < 0, so that their likelihood falls without end. operator.beta ≥ 2 bounds it',
    ]);
    expect(warnings({ alpha: 0.5, beta: 0.5 }, 0.5)[0]).toContain('operator.beta ≥ 1 bounds it');
    // At the boundary with nothing but rejected samples, the objective is flat.
    expect(warnings({ alpha: 0, beta: 1 }, 1)[0]).toContain('operator.beta > 1 bounds it');
  });

  it('say what share would bound it where the share is not known', () => {
    expect(warnings({ alpha: 0, beta: 1.5 })).toEqual([
      'operator.beta = 1.5 with operator.alpha = 0: the likelihood of rejected samples falls without end, unless they are a share of 0.667 of the samples, or more. operator.beta ≥ (1 − alpha)/share bounds it: 2 where half are rejected',
    ]);
    expect(warnings({ alpha: 0, beta: 1 })[0]).toContain('whatever share of the samples that is');
  });

  it('are none where the objective is a weighted maximum likelihood', () => {
    expect(warnings({ alpha: 0, beta: 2 }, 0.5)).toEqual([]);
    expect(warnings({ alpha: 0.5, beta: 1 }, 0.5)).toEqual([]);
    expect(warnings({ alpha: 1, beta: 0 }, 0.5)).toEqual([]);
    expect(warnings({ alpha: 0.5, beta: 1 })).toEqual([]);
    expect(warnings({ alpha: 0, beta: 1.5 }, 0)).toEqual([]);
    // The default with rejected samples alone.
    expect(warnings({ alpha: 0 }, 1)).toEqual([]);
  });

  it('name the setting whose weight is the smallest, and leave beta out where it applies to no part', () => {
    expect(warnings({ alpha: 0, beta: 2, kl: { mean: 0.5 } }, 0.5)[0]).toMatch(
      /^operator.kl.mean = 0.5 with operator.alpha = 0 .* operator.kl.mean ≥ 2 bounds it$/,
    );
    expect(warnings({ alpha: 0, kl: { mean: 2, covariance: 50 } }, 0.5)).toEqual([]);
    expect(warnings({ alpha: 0, kl: { sequence: 2 } }, 0.5)).toEqual([]);
    const bound = { epsilon: 0.01 };
    expect(warnings({ alpha: 0, kl: { mean: bound, covariance: bound } }, 0.5)).toEqual([]);
    // A Gaussian head would have a mean, to which beta applies.
    expect(warnings({ alpha: 0, kl: { covariance: 50, categorical: 8 } }, 0.5)[0]).toMatch(
      /^operator.beta = 1.25/,
    );
    const operator = create({ alpha: 0, kl: { categorical: 8 } });
    const known = { samples: 4, rejectShare: 0.5, klParts: ['mean', 'covariance'] };
    expect(operator.warnings!(known)[0]).toMatch(/^operator.beta = 1.25/);
  });

  it('go by the smallest fixed weight of any part of the KL', () => {
    expect(warnings({ alpha: 0, beta: 2, kl: { covariance: 50 } }, 0.5)).toEqual([]);
    expect(warnings({ alpha: 0, beta: 2, kl: { mean: 0.5 } }, 0.5)[0]).toContain('without end');
  });
});

describe("PMPO's variants", () => {
  itIsThatOfTorch('pmpo');

  it('by context, give less weight to a side that few contexts have', () => {
    // Twenty contexts of one sample, of which one is rejected.
    const label = Array.from({ length: 20 }, (_, i) => Number(i === 0));
    const weights = (normalise: 'context' | 'batch') => {
      const loss = (logProb: tf.Tensor) =>
        pmpo({ beta: 0, normalise }).loss({
          logProb: logProb as tf.Tensor2D,
          accept: tf.tensor2d([label.map((one) => 1 - one)]),
          reject: tf.tensor2d([label]),
          kl: { exact: true, parts: {} },
        }).loss;
      const gradient = [
        ...tf
          .grad(loss)(tf.zeros([1, 20]))
          .dataSync(),
      ];
      return [-gradient.slice(1).reduce((sum, one) => sum + one, 0), gradient[0]!];
    };
    for (const [normalise, sides] of [
      ['context', [0.475, 0.025]],
      ['batch', [0.5, 0.5]],
    ] as const) {
      for (const [i, weight] of weights(normalise).entries()) expect(weight).toBeCloseTo(sides[i]!, 6);
    }
  });

  it('count a context little whose samples hardly differ, in either normalisation', () => {
    // The second context's samples differ a hundredth as much as those of the first.
    const evaluation = tf.tensor2d([
      [1, 0.01],
      [-1, -0.01],
    ]);
    const label = (accepted: number, rejected: number) =>
      tf.tensor2d([
        [accepted, accepted],
        [rejected, rejected],
      ]);
    for (const normalise of ['context', 'batch'] as const) {
      const loss = (logProb: tf.Tensor) =>
        pmpo({ beta: 0, normalise, advantageScale: 0.5 }).loss({
          logProb: logProb as tf.Tensor2D,
          evaluation,
          accept: label(1, 0),
          reject: label(0, 1),
          kl: { exact: true, parts: {} },
        }).loss;
      const gradient = tf.grad(loss)(
        tf.tensor2d([
          [-1, -2],
          [-3, -4],
        ]),
      );
      const [far, near] = [Math.tanh(2) / 4, Math.tanh(0.02) / 4];
      expectClose(
        gradient,
        [
          [-far, -near],
          [far, near],
        ],
        normalise,
        1e-6,
      );
    }
  });

  it('keep samples of advantage 0 out, whatever their log-prob', () => {
    const logProb = tf.tensor2d([[Number.NEGATIVE_INFINITY], [Number.NEGATIVE_INFINITY]]);
    const loss = (x: tf.Tensor) =>
      pmpo({ beta: 0, advantageScale: 1 }).loss({
        logProb: x as tf.Tensor2D,
        evaluation: tf.ones([2, 1]),
        accept: tf.ones([2, 1]),
        reject: tf.zeros([2, 1]),
        kl: { exact: true, parts: {} },
      }).loss;
    expectClose(loss(logProb), 0, 'loss');
    expectClose(tf.grad(loss)(logProb), [[0], [0]], 'gradient');
  });

  it('refuse an estimate of the reverse KL, and warn that no weight of it bounds rejected samples', () => {
    const plane = tf.ones<tf.Rank.R2>([2, 3]);
    const reverse = pmpo({ reverseKl: true, beta: 5 });
    const reverseKl = { exact: false, parts: { sequence: tf.ones<tf.Rank.R2>([3, 1]) } };
    expect(() => reverse.loss({ logProb: plane, accept: plane, reject: plane, reverseKl })).toThrow(
      'batch.reverseKl: is an estimate, and pmpo needs the exact KL',
    );
    expect(reverse.warnings!({ samples: 4 })[0]).toMatch(
      /^operator\.beta = 5 with operator\.reverseKl .* no bound/,
    );
    expect(pmpo({ reverseKl: true, alpha: 1 }).warnings!({ samples: 4 })).toEqual([]);
    const bounded = pmpo({ reverseKl: true, kl: { sequence: { epsilon: 0.01 } } });
    expect(bounded.warnings!({ samples: 4 })).toEqual([]);
  });

  it('say what they need', () => {
    expect(pmpo({ advantageScale: 1 }).needs).toMatchObject({ evaluation: true, comparesSamples: true });
    expect(pmpo({ perToken: true }).needs.length).toBe(true);
    expect(pmpo({ reverseKl: true }).needs).toMatchObject({ kl: 'none', reverseKl: true });
  });
});
