import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import * as tf from '../engine/tf.js';
import { simpo } from './simpo.js';

beforeAll(() => tf.setBackend('cpu'));

describe('simpo', () => {
  itIsThatOfTorch('simpo');

  it('needs the length of each sample', () => {
    const plane = (...values: number[]) => tf.tensor2d(values, [2, 1]);
    const batch = { logProb: plane(-4, -9), accept: plane(1, 0), reject: plane(0, 1) };
    expect(() => simpo().loss(batch)).toThrow(
      'operator simpo, batch.length: is missing, and simpo needs it. Give the number of tokens of each sample, [N, B]; only sequences have one',
    );
    // −1 and −3 for each token: twice the difference of 2, less the margin of ½.
    const { loss } = simpo().loss({ ...batch, length: plane(4, 3) });
    expect(loss.dataSync()[0]).toBeCloseTo(Math.log1p(Math.exp(-3.5)), 6);
  });
});
