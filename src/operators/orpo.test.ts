import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { orpo } from './orpo.js';

beforeAll(() => tf.setBackend('cpu'));

const plane = (...values: number[]) => tf.tensor2d(values, [2, 1]);

/** The loss of one token each, without the likelihood, and its gradient in the accepted log-prob. */
function odds(accepted: number, rejected: number) {
  const loss = (logProb: tf.Tensor) =>
    tf.add(
      orpo({ oddsWeight: 1 }).loss({
        logProb: logProb as Tensor2D,
        accept: plane(1, 0),
        reject: plane(0, 1),
        length: plane(1, 1),
      }).loss,
      tf.sum(tf.mul(logProb, plane(1, 0))),
    ) as tf.Scalar;
  const { value, grad } = tf.valueAndGrad(loss)(plane(accepted, rejected));
  return { loss: value.dataSync()[0]!, gradient: grad.dataSync()[0]! };
}

describe('orpo', () => {
  itIsThatOfTorch('orpo');

  it('keeps the digits of odds where the probability is almost 1', () => {
    // Odds of 1e5 and 1e4: 1 − p keeps two digits in float32.
    const [a, r] = [Math.log1p(-1e-5), Math.log1p(-1e-4)];
    const margin = Math.log(1e5) - Math.log(1e4);
    expect(odds(a, r).loss).toBeCloseTo(Math.log1p(Math.exp(-margin)), 4);
  });

  it('is finite at a probability of 1', () => {
    for (const { loss, gradient } of [odds(0, -2), odds(-2, 0)]) {
      expect(Number.isFinite(loss) && Number.isFinite(gradient)).toBe(true);
    }
  });
});
