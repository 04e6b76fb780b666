import { expect, it } from 'vitest';
import * as tf from '../../engine/tf.js';
import { signalMetrics } from './signal-metrics.js';

/** The range that a batch of these n-step returns and discounts shows. */
function returnRange(returns: number[], discounts: number[]): number {
  const values = tf.zeros<tf.Rank.R2>([2, returns.length]);
  const metrics = signalMetrics({
    evaluation: values,
    mask: tf.onesLike(values),
    baseline: tf.zeros([returns.length]),
    returns: tf.tensor1d(returns),
    discounts: tf.tensor1d(discounts),
  });
  return metrics['critic/returnRange']!.dataSync()[0]!;
}

it.each([
  ['rewards that differ', [0, 1], [0.5, 0.5], 1],
  ['equal rewards, of which one ends its episode, as in CartPole', [1, 1], [0.5, 0], 0.5],
  ['equal rewards in episodes that go on', [1, 1], [0.5, 0.5], 0],
  ['no rewards, whether episodes end or not', [0, 0], [0.5, 0], 0],
])('%s', (_, returns, discounts, range) => {
  expect(returnRange(returns, discounts)).toBeCloseTo(range, 6);
});
