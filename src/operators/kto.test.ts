import { beforeAll, describe, expect, it } from 'vitest';
import { solve } from '../../test/references/batch.js';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import { expectClose, type Numbers, readFixture, tensor } from '../../test/references/read.js';
import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { type KtoSettings, kto } from './kto.js';
import type { OperatorBatch } from './operator.js';

interface Labeled {
  readonly logProb: Numbers;
  readonly referenceLogProb: Numbers;
  readonly accept: Numbers;
  readonly reject: Numbers;
  readonly mask: Numbers;
  readonly kl: Numbers;
}

interface Fixture {
  readonly cases: (Labeled & {
    readonly settings: KtoSettings;
    readonly referencePoint: number;
    readonly loss: number;
    readonly gradients: Numbers;
  })[];
}

// Written by test/references/kto_torch.py: TRL's formula.
const fixture = readFixture<Fixture>('kto_torch');

beforeAll(() => tf.setBackend('cpu'));

function batchOf(given: Labeled, logProb: Tensor2D, kl: Tensor2D): OperatorBatch {
  return {
    logProb,
    referenceLogProb: tensor(given.referenceLogProb),
    evaluation: tf.zerosLike(logProb),
    accept: tensor(given.accept),
    reject: tensor(given.reject),
    mask: tensor(given.mask),
    kl: () => ({ exact: true, parts: { sequence: kl } }),
  };
}

function solved(given: Labeled, settings: Partial<KtoSettings> = {}) {
  const parameters = { logProb: tensor(given.logProb), kl: tensor(given.kl) };
  const operator = kto(settings);
  return solve(operator, parameters, {}, (p) => batchOf(given, p.logProb as Tensor2D, p.kl as Tensor2D));
}

describe("TRL's numbers", () => {
  it.each(fixture.cases.map((own, i) => [i, own] as const))('case %i', (_, own) => {
    const { loss, gradients } = solved(own, own.settings);
    expectClose(loss, own.loss, 'loss');
    expectClose(gradients.logProb, own.gradients, 'gradients');
  });

  it('has a case whose KL is below 0, and others', () => {
    expect(fixture.cases.map(({ referencePoint }) => referencePoint > 0)).toEqual([true, true, false]);
  });
});

describe('KTO', () => {
  const given: Labeled = {
    logProb: [
      [-1, -2],
      [-3, Number.NaN],
    ],
    referenceLogProb: [
      [-2, -2],
      [-1, Number.NaN],
    ],
    accept: [
      [1, 0],
      [0, 1],
    ],
    reject: [
      [0, 0],
      [0.5, 0],
    ],
    mask: [
      [1, 1],
      [1, 0],
    ],
    kl: [[0.2], [0.4]],
  };
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

  it('measures log-ratios against the mean KL, weighted softly, without samples that are absent', () => {
    const { loss, gradients } = solved(given, { beta: 2, undesirableWeight: 3 });
    const expected = (sigmoid(-2 * (1 - 0.3)) + 0.5 * 3 * sigmoid(2 * (-2 - 0.3))) / 1.5;
    expectClose(loss, expected, 'loss');
    const [accepted, rejected] = [2 * (1 - 0.3), 2 * (-2 - 0.3)].map((z) => sigmoid(z) * sigmoid(-z));
    expectClose(
      gradients.logProb,
      [
        [(-2 * accepted) / 1.5, 0],
        [(2 * 1.5 * rejected) / 1.5, 0],
      ],
      'gradients',
    );
  });

  it('sends no gradient through the reference point', () => {
    expectClose(solved(given).gradients.kl, [[0], [0]], 'gradient of the KL');
  });

  it('is 0, with no gradient, where nothing is labeled', () => {
    const nothing = [
      [0, 0],
      [0, 0],
    ];
    const { loss, gradients } = solved({ ...given, accept: nothing, reject: nothing });
    expectClose(loss, 0, 'loss');
    expectClose(gradients.logProb, nothing, 'gradients');
  });

  it('learns from accepted samples alone, and from rejected ones alone', () => {
    const nothing = [
      [0, 0],
      [0, 0],
    ];
    const rejects = solved({ ...given, accept: nothing }).gradients.logProb.dataSync();
    expect(rejects[2]).toBeGreaterThan(0);
    const accepts = solved({ ...given, reject: nothing }).gradients.logProb.dataSync();
    expect(accepts[0]).toBeLessThan(0);
    expect(kto().needs.feedback).toBe('either');
  });
});

describe('the reference point of mismatched pairs', () => {
  itIsThatOfTorch('kto');

  it('is at least 0, and asks for no KL', () => {
    const operator = kto({ referencePoint: 'mismatched' });
    const plane = tf.tensor2d([[1, -1]]);
    const point = (...mismatched: number[]) =>
      operator
        .loss({
          logProb: plane,
          referenceLogProb: plane,
          accept: plane,
          reject: plane,
          mismatchedLogRatio: tf.tensor2d([mismatched]),
        })
        .metrics['policy/referencePoint']!.dataSync()[0];
    expect(point(3, -1)).toBe(1);
    expect(point(-3, 1)).toBe(0);
    expect(operator.needs).toMatchObject({ kl: 'none', mismatched: true });
  });
});
