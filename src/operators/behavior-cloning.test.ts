import { beforeAll, describe, expect, it } from 'vitest';
import { solve } from '../../test/references/batch.js';
import { expectClose, type Numbers, tensor } from '../../test/references/read.js';
import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { behaviorCloning } from './behavior-cloning.js';
import type { Operator } from './operator.js';
import { pmpo } from './pmpo.js';

beforeAll(() => tf.setBackend('cpu'));

function solveWith(operator: Operator, logProb: Numbers, accept: Numbers, mask: Numbers) {
  const zeros = tf.zeros<tf.Rank.R2>(tensor<Tensor2D>(mask).shape);
  return solve(operator, { logProb: tensor(logProb) }, {}, (p) => ({
    logProb: p.logProb as Tensor2D,
    referenceLogProb: zeros,
    evaluation: zeros,
    accept: tensor(accept),
    reject: zeros,
    mask: tensor(mask),
    kl: () => ({ exact: true, parts: {} }),
  }));
}

describe('behavior cloning', () => {
  const logProb = [
    [-1, -2, Number.NaN],
    [-3, -5, -7],
    [-4, -6, -8],
  ];
  const accept = [
    [1, 0, 1],
    [0.5, 0, 1],
    [0, 0, 0],
  ];
  const mask = [
    [1, 1, 0],
    [1, 1, 1],
    [1, 1, 1],
  ];

  it('is the mean over contexts of the weighted mean over accepted samples', () => {
    const { loss, gradients } = solveWith(behaviorCloning(), logProb, accept, mask);
    // Context 0: (1·1 + ½·3) / 1½; context 1: nothing accepted; context 2: 7.
    expectClose(loss, (2.5 / 1.5 + 0 + 7) / 3, 'loss');
    const expected = [
      [-2 / 9, 0, 0],
      [-1 / 9, 0, -1 / 3],
      [0, 0, 0],
    ];
    expectClose(gradients.logProb, expected, 'gradient');
  });

  it('is PMPO with α = 1 and β = 0', () => {
    const cloning = solveWith(behaviorCloning(), logProb, accept, mask);
    const expected = solveWith(pmpo({ alpha: 1, beta: 0 }), logProb, accept, mask);
    expectClose(expected.loss, cloning.loss.arraySync(), 'loss');
    expectClose(expected.gradients.logProb, cloning.gradients.logProb.arraySync() as Numbers, 'gradient');
  });

  it('needs accepted samples', () => {
    expect(behaviorCloning().needs).toEqual({
      feedback: 'accepts',
      evaluation: false,
      referenceLogProb: false,
      kl: 'none',
    });
  });
});
