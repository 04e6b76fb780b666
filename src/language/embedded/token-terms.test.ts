import { afterAll, beforeAll, expect, it } from 'vitest';
import { createPair, disagreement, integers, normal, type Pair } from '../../../test/engine/agreement.js';
import type { NamedTensors, Scalar, Tensor1D, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { chosenLogProbs } from './token-terms.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

it('log-probs of tokens and their gradients agree with those of a product with one-hot vectors', async () => {
  const [M, V] = [6, 11];
  const logits = normal('logits', M, V);
  // Rows in which the chosen token is almost certain, and almost impossible.
  logits.data[3] = 40;
  logits.data[V + 4] = -60;
  const inputs = { logits, tokens: integers([M], 3, 4, 0, 10, 5, 5), weight: normal('weight', M) };
  const withGradient = (fn: (logits: Tensor2D, tokens: Tensor1D) => tf.Tensor) => (all: NamedTensors) => {
    const terms = (logits: tf.Tensor) => fn(logits as Tensor2D, all.tokens as Tensor1D);
    const gradient = tf.grad((logits: tf.Tensor) => tf.sum(tf.mul(terms(logits), all.weight!)) as Scalar);
    return { terms: terms(all.logits!), gradient: gradient(all.logits!) };
  };
  const composed = (logits: Tensor2D, tokens: Tensor1D) =>
    tf.sum(tf.mul(tf.logSoftmax(logits), tf.oneHot(tokens, V)), -1);
  const wanted = await pair.run(withGradient(composed), inputs);
  const found = await pair.run(withGradient(chosenLogProbs), inputs);
  expect(disagreement(wanted.eager, found.eager, 1e-6)).toBeUndefined();
  expect(disagreement(wanted.eager, found.traced, 1e-6)).toBeUndefined();
});
