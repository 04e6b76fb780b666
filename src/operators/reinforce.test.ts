import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch, solveBatch } from '../../test/references/operator-cases.js';
import { expectClose } from '../../test/references/read.js';
import * as tf from '../engine/tf.js';
import { reinforce } from './reinforce.js';

beforeAll(() => tf.setBackend('cpu'));

describe('reinforce', () => {
  itIsThatOfTorch('reinforce');

  it('compares each sample with the mean of the others', () => {
    const planes = {
      logProb: [[-1], [-2], [-3]],
      referenceLogProb: [[0], [0], [0]],
      evaluation: [[6], [3], [0]],
      accept: [[0], [0], [0]],
      reject: [[0], [0], [0]],
      mask: [[1], [1], [1]],
      length: [[1], [1], [1]],
    };
    const { gradients } = solveBatch(reinforce(), { planes });
    expect([...gradients.logProb!.dataSync()].map((one) => -3 * one + 0)).toEqual([4.5, 0, -4.5]);
  });

  it('has the gradient of the expected evaluation where the mask holds the probabilities of all actions', () => {
    const probabilities = [0.5, 0.3, 0.2];
    const evaluation = [[6], [3], [0]];
    const planes = {
      logProb: probabilities.map((p) => [Math.log(p)]),
      referenceLogProb: probabilities.map((p) => [Math.log(p)]),
      evaluation,
      accept: [[0], [0], [0]],
      reject: [[0], [0], [0]],
      mask: probabilities.map((p) => [p]),
      length: [[1], [1], [1]],
    };
    const { gradients } = solveBatch(reinforce(), { planes });
    const mean = 0.5 * 6 + 0.3 * 3;
    const expected = evaluation.map(([f], i) => [-probabilities[i]! * (f! - mean)]);
    expectClose(gradients.logProb!, expected, 'gradient');
  });

  it('adds the KL where the settings name a part', () => {
    expect(reinforce().needs.kl).toBe('none');
    expect(reinforce({ kl: { mean: 1 } }).needs.kl).toBe('any');
  });
});
