import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import * as tf from '../engine/tf.js';
import { awr } from './awr.js';

beforeAll(() => tf.setBackend('cpu'));

const loss = (evaluation: number[][], settings = {}) =>
  awr(settings)
    .loss({ logProb: tf.tensor2d([[-1], [-1]]), evaluation: tf.tensor2d(evaluation) })
    .loss.dataSync()[0];

describe('awr', () => {
  itIsThatOfTorch('awr');

  it('clips its weights, however large the advantage', () => {
    expect(loss([[1e6], [-1e6]])).toBe(10);
    expect(loss([[1e6], [-1e6]], { maxWeight: 3 })).toBe(1.5);
  });

  it('is maximum likelihood of all samples where evaluations are equal', () => {
    expect(loss([[7], [7]])).toBe(1);
  });
});
