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

  it('is awr with the exponential filter', () => {
    const settings = { beta: 0.7, maxWeight: 2 };
    expect(loss(crr({ filter: 'exponential', ...settings }))).toBe(loss(awr(settings)));
  });
});
