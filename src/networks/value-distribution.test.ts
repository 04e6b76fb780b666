import { beforeAll, describe, it } from 'vitest';
import { expectClose, type Numbers, readFixture, tensor } from '../../test/references/read.js';
import type { Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { crossEntropy, expectedValue, resampling, targetHistograms } from './value-distribution.js';

interface Fixture {
  readonly cases: {
    readonly targets: readonly number[];
    readonly logits: readonly (readonly number[])[];
    readonly histograms: Numbers;
    readonly means: Numbers;
    readonly loss: number;
    readonly gradient: Numbers;
    readonly unit: { readonly scale: number; readonly shift: number };
    readonly moved: Numbers;
  }[];
}

// Written by test/references/value_distribution_torch.py.
const { cases } = readFixture<Fixture>('value_distribution_torch');

beforeAll(() => tf.setBackend('cpu'));

describe.each(cases.map((each) => [each.logits[0]!.length, each] as const))(
  'a histogram of %i bins',
  (bins, each) => {
    const logits = tensor<Tensor2D>(each.logits);

    it('is learned from the targets, and by the cross-entropy, of the paper', () => {
      const histograms = targetHistograms(tensor<Tensor1D>(each.targets), bins);
      expectClose(histograms, each.histograms, 'histograms');
      expectClose(crossEntropy(histograms, logits), each.loss, 'loss');
      const gradient = tf.grad((x) => crossEntropy(histograms, x as Tensor2D))(logits);
      expectClose(gradient, each.gradient, 'gradient');
    });

    it('has the mean of its bins as its value', () => {
      expectClose(expectedValue(logits), each.means, 'means');
    });

    it('is interpolated when the unit of values changes', () => {
      const { scale, shift } = each.unit;
      const matrix = resampling(bins, { scale: tf.scalar(scale), shift: tf.scalar(shift) });
      expectClose(tf.matMul(logits, matrix), each.moved, 'moved', 1e-4);
    });
  },
);

it('gives back a target within the bins as the mean of its histogram', () => {
  const targets = [-7.31, -1, 0, 0.001, 0.37, 5.5];
  const logits = tf.log(targetHistograms(tensor<Tensor1D>(targets), 101));
  expectClose(expectedValue(logits), targets, 'means', 1e-4);
});
