import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch, solveBatch } from '../../test/references/operator-cases.js';
import * as tf from '../engine/tf.js';
import { ipo, ipoDefinition } from './ipo.js';

beforeAll(() => tf.setBackend('cpu'));

describe('ipo', () => {
  itIsThatOfTorch('ipo');

  it('is 0 at a margin of 1/(2β), and pulls back from a greater one', () => {
    const solved = (margin: number) => {
      const planes = {
        logProb: [[margin], [0]],
        referenceLogProb: [[0], [0]],
        evaluation: [[1], [0]],
        accept: [[1], [0]],
        reject: [[0], [1]],
        mask: [[1], [1]],
        length: [[1], [1]],
      };
      const { loss, gradients } = solveBatch(ipo({ beta: 0.25 }), { planes });
      return { loss: loss.dataSync()[0], gradient: Math.sign(gradients.logProb!.dataSync()[0]!) };
    };
    expect(solved(2)).toEqual({ loss: 0, gradient: 0 });
    expect(solved(1)).toEqual({ loss: 1, gradient: -1 });
    expect(solved(3)).toEqual({ loss: 1, gradient: 1 });
  });

  it('divides by the length for a language model, and not for actions', () => {
    expect(ipoDefinition.complete({}, ['sequence'])).toMatchObject({ beta: 0.1, perToken: true });
    expect(ipoDefinition.complete({}, ['mean', 'covariance'])).toMatchObject({ beta: 10, perToken: false });
    expect(ipo({ perToken: true }).needs.length).toBe(true);
  });
});
