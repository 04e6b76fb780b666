import { afterEach, expect, it } from 'vitest';
import { controlConfig } from '../../../test/support/control-config.js';
import { randomKey } from '../../core/random-keys.js';
import { categoricalFamily } from '../../distributions/categorical.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import type { Scalar, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { pmpo } from '../../operators/pmpo.js';
import { createParameters } from './parameters.js';
import { improvePolicy } from './update.js';

let engine: Engine | undefined;
afterEach(async () => engine?.dispose());

it('moves no categorical policy that is at its reference by the reverse KL', async () => {
  engine = await createEngine('cpu');
  const spec = {
    config: controlConfig({ policy: { uniformShare: 0.02 }, learner: { normalizeObservations: false } }),
    family: categoricalFamily({ bins: [3], uniformShare: 0.02 }),
    observationSize: 2,
    actionSize: 1,
    actionValues: Int32Array.of(3),
    operator: pmpo({ reverseKl: true, beta: 1 }),
  };
  const parameters = createParameters(engine, spec, randomKey(0));
  // Far from the uniform distribution, to which a KL of two kinds of probabilities would pull.
  for (const tree of [parameters.policy, parameters.reference]) {
    for (const variable of Object.values(tree)) variable.assign(tf.mul(variable, 4));
  }
  const step = engine.jit('step', ({ contexts }: { readonly contexts: Tensor2D }) => {
    const plane = tf.zeros<tf.Rank.R2>([2, 3]);
    const metrics = improvePolicy(spec, parameters, {
      observations: contexts,
      nextObservations: contexts,
      normalizedContexts: contexts,
      contexts,
      actions: tf.zeros([3, 1]),
      canonicalSamples: tf.zeros([2, 3, 1]),
      samples: tf.zeros([2, 3, 1]),
      noise: tf.zeros([2, 3, 1]),
      returns: tf.zeros([3]),
      discounts: tf.zeros([3]),
      baseline: tf.zeros([3]),
      learningRateFactor: tf.scalar(1) as Scalar,
      evaluation: plane,
      accept: plane,
      reject: plane,
      mask: tf.onesLike(plane),
    });
    return { gradientNorm: metrics['policy/gradientNorm']! };
  });
  const contexts = { shape: [3, 2], data: Float32Array.of(3, 1, -2, 5, 0, -4) };
  const { gradientNorm } = await step.run({ contexts });
  expect(gradientNorm.data[0]).toBeLessThan(1e-6);
});
