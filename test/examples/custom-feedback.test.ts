import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { createCatalogue } from '../../src/config/catalogue.js';
import { loadPlugins } from '../../src/config/plugins.js';
import * as tf from '../../src/engine/tf.js';
import { publicModules } from '../../src/public-modules.js';

beforeAll(() => tf.setBackend('cpu'));

it('examples/custom-feedback accepts samples within the torque limit that beat the median, and rejects the rest', async () => {
  const registries = createCatalogue();
  const folder = fileURLToPath(new URL('../../examples/custom-feedback', import.meta.url));
  await loadPlugins(['./torque-limit.ts'], registries, folder, publicModules);
  const definition = registries.feedback.get('torque-limit');
  expect(definition.settings.safeParse({ limit: -1 }).success).toBe(false);
  const classifier = definition.create(definition.settings.parse({ limit: 0.5 }), 4);

  // Two contexts, one with four samples of two torques each and one with three.
  const { accept, reject } = classifier.classify!({
    evaluation: tf.tensor2d([
      [4, 1],
      [3, 3],
      [2, 2],
      [1, 9],
    ]),
    mask: tf.tensor2d([
      [1, 1],
      [1, 1],
      [1, 1],
      [1, 0],
    ]),
    baseline: tf.zeros([2]),
    samples: tf.tensor3d([
      [
        [0.1, -0.9],
        [0, 0],
      ],
      [
        [0.5, -0.5],
        [0.2, 0.2],
      ],
      [
        [0, 0],
        [0.2, 0.2],
      ],
      [
        [0, 0],
        [0, 0],
      ],
    ]),
    contexts: tf.zeros([2, 1]),
  });
  // The best sample of the first context exceeds the limit; in the second, only the best one is better than the median.
  expect(accept.arraySync()).toEqual([
    [0, 0],
    [1, 1],
    [0, 0],
    [0, 0],
  ]);
  expect(reject.arraySync()).toEqual([
    [1, 1],
    [0, 0],
    [1, 1],
    [1, 0],
  ]);
});
