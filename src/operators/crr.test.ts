import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import * as tf from '../engine/tf.js';
import { awr } from './awr.js';
import { crr } from './crr.js';
import type { Operator } from './operator.js';

beforeAll(() => tf.setBackend('cpu'));

const loss = (operator: Operator) =>
  operator
    .loss({ logProb: tf.tensor2d([[-1], [-2], [-4]]), evaluation: tf.tensor2d([[3], [2], [1]]) })
    .loss.dataSync()[0]!;

describe('crr', () => {
  itIsThatOfTorch('crr');

  it('learns from the samples better than the mean alone, with the binary filter', () => {
    expect(loss(crr())).toBeCloseTo(1 / 3, 6);
  });

  it('does not learn from a sample that equals the baseline, or from equal samples without one', () => {
    const third = Math.fround(1 / 3);
    const of = (evaluation: number[], baseline?: number) =>
      crr()
        .loss({
          logProb: tf.tensor2d(evaluation.map(() => [-1])),
          evaluation: tf.tensor2d(evaluation.map((value) => [value])),
          ...(baseline === undefined ? {} : { baseline: tf.tensor1d([baseline]) }),
        })
        .loss.dataSync()[0]!;
    expect(of([third], third)).toBeCloseTo(0, 12);
    expect(of([third + 1e-6], third)).toBeCloseTo(1, 6);
    expect(of([third, third, third])).toBeCloseTo(0, 12);
  });

  it('is awr with the exponential filter', () => {
    const settings = { beta: 0.7, maxWeight: 2 };
    expect(loss(crr({ filter: 'exponential', ...settings }))).toBe(loss(awr(settings)));
  });
});
