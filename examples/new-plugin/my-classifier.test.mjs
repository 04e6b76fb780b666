// node --test my-classifier.test.mjs

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadPlugins, Registry } from 'pmpo';
import { tf } from 'pmpo/engine';
import { createFeedbackRegistry } from 'pmpo/feedback';
import { createOperatorRegistry } from 'pmpo/operators';

test('accepts samples above the mean of their context by the margin, and rejects those below it', async () => {
  await tf.setBackend('cpu');
  const feedback = createFeedbackRegistry();
  const registries = { feedback, operators: createOperatorRegistry(), rewards: new Registry('reward') };
  await loadPlugins(['./my-classifier.ts'], registries, fileURLToPath(new URL('.', import.meta.url)));
  const definition = feedback.get('my-classifier');
  const classifier = definition.create(definition.settings.parse({ margin: 0.5 }), 3);

  // Two contexts: one with three samples, and one with two.
  const { accept, reject } = classifier.classify({
    evaluation: tf.tensor2d([
      [1, 5],
      [2, 7],
      [3, NaN],
    ]),
    mask: tf.tensor2d([
      [1, 1],
      [1, 1],
      [1, 0],
    ]),
    baseline: tf.zeros([2]),
    samples: tf.zeros([3, 2, 1]),
    contexts: tf.zeros([2, 1]),
  });
  assert.deepEqual(accept.arraySync(), [
    [0, 0],
    [0, 1],
    [1, 0],
  ]);
  assert.deepEqual(reject.arraySync(), [
    [1, 1],
    [0, 0],
    [0, 0],
  ]);
});
