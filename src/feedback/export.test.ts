import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { normal } from '../../test/engine/agreement.js';
import { runModel } from '../engine/onnx/open-export.js';
import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition } from './classifier.js';
import { defineFeedback } from './define.js';
import { exportFeedback } from './export.js';
import { createFeedbackRegistry } from './registry.js';

const registry = createFeedbackRegistry();

const plugin = (create: FeedbackDefinition['create']) =>
  defineFeedback({ name: 'mine', description: 'a test', settings: z.strictObject({}), create });
const provides = { accepts: true, rejects: true };

describe('an exported classifier', () => {
  it.each([
    ['top-k', { accept: 1, reject: 2 }],
    ['median', {}],
    ['threshold', { value: 0.25 }],
    ['value-baseline', {}],
    ['label', {}],
  ])('%s gives the same weights for any numbers of samples and contexts', async (name, settings) => {
    const definition = registry.get(name);
    const { model, metadata } = await exportFeedback(definition, settings);
    expect(metadata).toMatchObject({ name, provides, settings });
    for (const [n, b] of [
      [4, 3],
      [7, 1],
      [3, 11],
    ] as const) {
      const drawn = normal(`f ${n} ${b}`, n, b);
      // Labels are −1, 0 and 1.
      const data = name === 'label' ? drawn.data.map((f) => Math.sign(Math.round(f))) : drawn.data;
      const evaluation = { shape: [n, b], data };
      const inputs = {
        evaluation,
        mask: { shape: [n, b], data: normal('mask', n, b).data.map((x) => Number(x > -1)) },
        baseline: { shape: [b], data: normal('v', b).data },
      };
      const read = Object.fromEntries(
        metadata.inputs.map(({ name: input }) => [input, inputs[input as keyof typeof inputs]]),
      );
      const found = await runModel(model, read);
      const plane = ({ data }: { data: Float32Array }) => tf.tensor2d(data, [n, b]);
      const expected = definition.create(settings, n).classify!({
        evaluation: plane(evaluation),
        mask: plane(inputs.mask),
        baseline: tf.tensor1d(inputs.baseline.data),
        samples: tf.zeros([n, b]),
        contexts: tf.zeros([b]),
      });
      expect([...found.accept!.data]).toEqual([...(expected.accept as Tensor2D).dataSync()]);
      expect([...found.reject!.data]).toEqual([...(expected.reject as Tensor2D).dataSync()]);
    }
  });

  it('may read the samples, whose shape is then given', async () => {
    const gentle = plugin(() => ({
      provides,
      classify: ({ samples }) => {
        const accept = tf.cast(tf.less(tf.max(tf.abs(samples), -1), 0.5), 'float32');
        return { accept, reject: tf.sub(1, accept) };
      },
    }));
    const { model, metadata } = await exportFeedback(gentle, {}, { sampleShape: [2] });
    expect(metadata.inputs).toEqual([
      { name: 'mask', axes: ['N', 'B'] },
      { name: 'samples', axes: ['N', 'B', 2] },
    ]);
    const found = await runModel(model, {
      mask: { shape: [2, 1], data: Float32Array.of(1, 1) },
      samples: { shape: [2, 1, 2], data: Float32Array.of(0.1, -0.4, 0.1, -0.6) },
    });
    expect([...found.accept!.data]).toEqual([1, 0]);
  });

  it('is refused in one line if it is plain code or reads a traced value', async () => {
    const plain = plugin(() => ({
      provides,
      classifyOnHost: ({ evaluation }) => ({ accept: evaluation, reject: evaluation }),
    }));
    await expect(exportFeedback(plain)).rejects.toThrow(
      "export of 'mine': it is plain code, of which there is no graph. Write it with tensor operations",
    );
    const reads = plugin(() => ({
      provides,
      classify: ({ evaluation }) => {
        const accept = tf.cast(tf.greater(evaluation, evaluation.dataSync()[0]!), 'float32');
        return { accept, reject: accept };
      },
    }));
    await expect(exportFeedback(reads)).rejects.toThrow(/feedback 'mine': it threw: .*dataSync/);
  });
});
