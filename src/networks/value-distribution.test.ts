import { beforeAll, describe, it } from 'vitest';
import { expectClose, type Numbers, readFixture, tensor } from '../../test/references/read.js';
import type { Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import {
  crossEntropy,
  expectedValue,
  histogramLogits,
  outputInUnit,
  targetHistograms,
} from './value-distribution.js';

interface Fixture {
  readonly cases: {
    readonly targets: readonly number[];
    readonly outputs: readonly (readonly number[])[];
    readonly histograms: readonly (readonly number[])[];
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

describe.each(cases.map((each) => [each.histograms[0]!.length, each] as const))(
  'a histogram of %i bins',
  (bins, each) => {
    const outputs = tensor<Tensor2D>(each.outputs);
    const logits = histogramLogits(outputs) as Tensor2D;

    it('is learned from the targets, and by the cross-entropy, of the paper', () => {
      const histograms = targetHistograms(tensor<Tensor1D>(each.targets), bins);
      expectClose(histograms, each.histograms, 'histograms');
      expectClose(crossEntropy(histograms, logits), each.loss, 'loss');
      const loss = (x: Tensor) => crossEntropy(histograms, histogramLogits(x) as Tensor2D);
      const gradient = tf.grad(loss)(outputs);
      expectClose(gradient, each.gradient, 'gradient');
    });

    it('has the mean of its bins as its value', () => {
      expectClose(expectedValue(logits), each.means, 'means');
    });

    it('moves when the unit of values changes', () => {
      const { scale, shift } = each.unit;
      const bias = tf.mul(0.1, tf.range(0, bins + 1, 1, 'float32')) as Tensor1D;
      const layer = { weight: tf.sub(outputs, bias) as Tensor2D, bias };
      const moved = outputInUnit(layer, { scale: tf.scalar(scale), shift: tf.scalar(shift) });
      expectClose(tf.add(moved.weight, moved.bias), each.moved, 'moved', 1e-4);
    });
  },
);

it('gives back a target within the bins as the mean of its histogram', () => {
  const targets = [-7.31, -1, 0, 0.001, 0.37, 5.5];
  const logits = tf.log(targetHistograms(tensor<Tensor1D>(targets), 101));
  expectClose(expectedValue(logits), targets, 'means', 1e-4);
});
