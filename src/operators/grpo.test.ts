import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch, solveBatch } from '../../test/references/operator-cases.js';
import * as tf from '../engine/tf.js';
import { grpo } from './grpo.js';

beforeAll(() => tf.setBackend('cpu'));

/** Two samples, of which the first is better: advantages ±1/√2. */
function gradients(logProb: number[][], settings = {}): number[] {
  const planes = {
    logProb,
    referenceLogProb: [[0], [0]],
    evaluation: [[5], [3]],
    accept: [[0], [0]],
    reject: [[0], [0]],
    mask: [[1], [1]],
    length: [[2], [1]],
  };
  return [...solveBatch(grpo(settings), { planes }).gradients.logProb!.dataSync()];
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
