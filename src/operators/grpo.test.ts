import { beforeAll, describe, expect, it } from 'vitest';
import type { Solution } from '../../test/references/batch.js';
import { itIsThatOfTorch, solveBatch } from '../../test/references/operator-cases.js';
import { expectClose } from '../../test/references/read.js';
import * as tf from '../engine/tf.js';
import { grpo } from './grpo.js';

beforeAll(() => tf.setBackend('cpu'));

/** Two samples, of which the first is better: advantages ±1/√2. */
function solved(logProb: number[][], settings = {}): Solution {
  const planes = {
    logProb,
    referenceLogProb: [[0], [0]],
    evaluation: [[5], [3]],
    accept: [[0], [0]],
    reject: [[0], [0]],
    mask: [[1], [1]],
    length: [[2], [1]],
  };
  return solveBatch(grpo(settings), { planes });
}

function gradients(logProb: number[][], settings = {}): number[] {
  return [...solved(logProb, settings).gradients.logProb!.dataSync()];
}

describe('grpo', () => {
  itIsThatOfTorch('grpo');

  it('stops where the ratio has gone as far as the clip in the direction of the advantage', () => {
    const [better, worse] = gradients([[0], [0]]);
    expect(better).toBeCloseTo(-Math.SQRT1_2 / 2, 3);
    expect(worse).toBeCloseTo(Math.SQRT1_2 / 2, 3);
    expect(gradients([[0.3], [-0.3]]).map(Math.abs)).toEqual([0, 0]);
    // In the other direction it is not clipped.
    expect(gradients([[-0.3], [0.3]]).map(Math.sign)).toEqual([-1, 1]);
  });

  it('takes the mean over tokens with perToken', () => {
    const [whole] = gradients([[0], [0]]);
    const [token] = gradients([[0], [0]], { perToken: true });
    expect(token).toBeCloseTo(whole! / 2, 6);
  });

  it('takes the deviation of the distribution where the mask holds the probabilities of all actions', () => {
    const probabilities = tf.tensor2d([[0.75], [0.25]]);
    const loss = (logProb: tf.Tensor) =>
      grpo().loss({
        logProb: logProb as tf.Tensor2D,
        referenceLogProb: tf.log(probabilities),
        evaluation: tf.tensor2d([[5], [3]]),
        mask: probabilities,
      }).loss;
    const deviation = Math.sqrt(0.75 * 0.25 * 4);
    const expected = [[(-0.75 * 0.5) / deviation], [(0.25 * 1.5) / deviation]];
    expectClose(tf.grad(loss)(tf.log(probabilities)), expected, 'gradient', 1e-3);
  });

  it.each([-1e4, -200, 200, 1e4])(
    'stays finite, gradient and metrics included, at a log-ratio of %d',
    (far) => {
      for (const logProb of [
        [[far], [0]],
        [[0], [far]],
      ]) {
        for (const beta of [0, 0.04]) {
          const [referenceLogProb, evaluation] = [tf.zeros<tf.Rank.R2>([2, 1]), tf.tensor2d([[5], [3]])];
          const { metrics } = grpo({ beta }).loss({
            logProb: tf.tensor2d(logProb),
            referenceLogProb,
            evaluation,
          });
          const { loss, gradients: found } = solved(logProb, { beta });
          for (const one of [loss, found.logProb!, ...Object.values(metrics)]) {
            expect([...one.dataSync()].every(Number.isFinite)).toBe(true);
          }
        }
      }
    },
  );

  it('asks for the length only with perToken, and for two samples of a context', () => {
    expect(grpo().needs).toMatchObject({
      feedback: 'none',
      length: false,
      kl: 'none',
      comparesSamples: true,
    });
    expect(grpo({ perToken: true, kl: { sequence: 0.1 } }).needs).toMatchObject({ length: true, kl: 'any' });
  });
});
