import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch, solveBatch } from '../../test/references/operator-cases.js';
import * as tf from '../engine/tf.js';
import { rejectionSampling } from './rejection-sampling.js';

beforeAll(() => tf.setBackend('cpu'));

describe('rejection-sampling', () => {
  itIsThatOfTorch('rejection-sampling');

  it('learns from the best accepted sample, the first of equals', () => {
    const planes = {
      logProb: [[-1], [-2], [-3], [-4]],
      referenceLogProb: [[0], [0], [0], [0]],
      evaluation: [[9], [5], [5], [1]],
      // The best sample was not accepted.
      accept: [[0], [1], [1], [1]],
      reject: [[0], [0], [0], [0]],
      mask: [[1], [1], [1], [1]],
      length: [[1], [1], [1], [1]],
    };
    const { loss, gradients } = solveBatch(rejectionSampling(), { planes });
    expect(loss.dataSync()[0]).toBe(2);
    expect([...gradients.logProb!.dataSync()].map((one) => one + 0)).toEqual([0, -1, 0, 0]);
  });
});
