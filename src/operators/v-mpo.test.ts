import { beforeAll, describe, expect, it } from 'vitest';
import { itIsThatOfTorch } from '../../test/references/operator-cases.js';
import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { vMpo } from './v-mpo.js';

beforeAll(() => tf.setBackend('cpu'));

/** Which samples get a weight, by their gradients. */
function kept(evaluation: number[][], settings = {}, mask?: number[][]): number[] {
  const loss = (logProb: tf.Tensor) =>
    vMpo(settings).loss(
      {
        logProb: logProb as Tensor2D,
        evaluation: tf.tensor2d(evaluation),
        kl: { exact: true, parts: {} },
        ...(mask === undefined ? {} : { mask: tf.tensor2d(mask) }),
      },
      { logTemperature: tf.tensor1d([0]) },
    ).loss;
  const weights = tf.grad(loss)(tf.zeros([evaluation.length, evaluation[0]!.length]));
  return [...weights.dataSync()].map((one) => Number(one < 0));
}

describe('v-mpo', () => {
  itIsThatOfTorch('v-mpo');

  it('keeps the best half of the whole batch', () => {
    // The advantages of the second context are ten times those of the first.
    const evaluation = [
      [3, 30],
      [1, 20],
      [0, 10],
      [-4, -60],
    ];
    expect(kept(evaluation)).toEqual([1, 1, 0, 1, 0, 1, 0, 0]);
    expect(kept(evaluation, { topFraction: 0.25 })).toEqual([0, 1, 0, 1, 0, 0, 0, 0]);
    expect(kept(evaluation, { topFraction: 0.01 })).toEqual([0, 1, 0, 0, 0, 0, 0, 0]);
    expect(kept(evaluation, { topFraction: 1 })).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
  });

  it('counts present samples alone, and keeps all that tie with the last', () => {
    const evaluation = [[5], [0], [0], [-5], [99]];
    expect(kept(evaluation, {}, [[1], [1], [1], [1], [0]])).toEqual([1, 1, 1, 0, 0]);
  });

  it('starts with a temperature and a dual for each dimension', () => {
    const state = vMpo().initialState({ klParts: { categorical: 3 } });
    expect(Object.entries(state).map(([name, { shape }]) => [name, shape])).toEqual([
      ['logTemperature', [1]],
      ['logKlWeight/categorical', [3]],
    ]);
  });
});
