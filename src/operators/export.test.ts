import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { normal } from '../../test/engine/agreement.js';
import { runModel } from '../engine/onnx/open-export.js';
import type { HostTensor, NamedHostTensors } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { exportOperator, type PortablePolicy } from './export.js';
import type { OperatorDefinition } from './operator.js';
import { createOperatorRegistry } from './registry.js';

const registry = createOperatorRegistry();
const gaussian: PortablePolicy = { klParts: ['mean', 'covariance'] };

const scalar = (value: number): HostTensor => ({ shape: [], data: Float32Array.of(value) });
const binary = (seed: string, n: number, b: number): HostTensor => {
  const { data } = normal(seed, n, b);
  return { shape: [n, b], data: data.map((x) => Number(x > -0.5)) };
};

/** A plugin's operator on sequences, whose loss is `loss`. */
function plugin<S extends z.ZodObject>(
  settings: S,
  loss: (logProb: tf.Tensor2D, settings: z.output<S>) => tf.Tensor,
) {
  const definition: OperatorDefinition<S> = {
    name: 'mine',
    description: 'a test',
    settings,
    create: (given) => ({
      needs: { feedback: 'none', evaluation: false, referenceLogProb: false, kl: 'none' },
      initialState: () => ({}),
      loss: ({ logProb }) => ({ loss: loss(logProb, given) as tf.Scalar, metrics: {} }),
    }),
  };
  return defineOperator(definition);
}

/** The results of an operator itself, computed eagerly, with the gradient in the log-probs. */
function eager(name: string, settings: object, klPart: string, inputs: NamedHostTensors) {
  const operator = registry.get(name).create(settings);
  const t = (key: string): tf.Tensor2D => {
    const { data, shape } = inputs[key]!;
    return tf.tensor2d(data, [shape[0]!, shape[1]!]);
  };
  const { value, grads } = tf.valueAndGrads(
    (logProb: tf.Tensor) =>
      operator.loss({
        logProb: logProb as tf.Tensor2D,
        referenceLogProb: t('referenceLogProb'),
        evaluation: t('evaluation'),
        accept: t('accept'),
        reject: t('reject'),
        mask: t('mask'),
        kl: { exact: true, parts: { [klPart]: t(`kl/${klPart}`) } },
      }).loss,
  )([t('logProb')]);
  return { loss: value.dataSync()[0]!, gradient: [...grads[0]!.dataSync()] };
}

describe('an exported operator', () => {
  it.each([
    ['pmpo', { alpha: 0.25, beta: 3 }],
    ['kto', { beta: 0.7, desirableWeight: 1.5, undesirableWeight: 0.5 }],
    ['dpo', { beta: 0.4 }],
    ['behavior-cloning', {}],
  ])(
    '%s has the loss and the gradient of the operator at other sizes and settings',
    async (name, settings) => {
      const { model, metadata } = await exportOperator(registry.get(name));
      expect(metadata.settings.open).toEqual(Object.keys(settings));
      for (const [n, b] of [
        [1, 1],
        [2, 5],
        [6, 3],
      ] as const) {
        const given: NamedHostTensors = {
          logProb: normal('p', n, b),
          referenceLogProb: normal('r', n, b),
          evaluation: normal('f', n, b),
          accept: binary('a', n, b),
          reject: binary('b', n, b),
          mask: binary('m', n, b),
          'kl/sequence': normal('kl', b, 1),
        };
        const inputs = Object.fromEntries([
          ...metadata.inputs.map((input) => [input.name, given[input.name]!] as const),
          ...Object.entries(settings).map(([key, value]) => [`setting/${key}`, scalar(value)] as const),
        ]);
        const found = await runModel(model, inputs);
        const expected = eager(name, settings, 'sequence', given);
        expect(found.loss!.data[0]).toBeCloseTo(expected.loss, 5);
        const gradient = [...found['gradient/logProb']!.data];
        for (const [i, value] of expected.gradient.entries()) expect(gradient[i]).toBeCloseTo(value, 6);
      }
    },
  );

  it('describes its inputs, needs, settings and state', async () => {
    const settings = { kl: { mean: { epsilon: 0.02, initialWeight: 3 }, covariance: 5 } };
    const { metadata } = await exportOperator(registry.get('pmpo'), { beta: 1, ...settings }, gaussian);
    expect(metadata.needs).toMatchObject({ feedback: 'either', kl: 'any', referenceLogProb: false });
    expect(metadata.needsAt.map(({ setting, value, needs }) => [setting, value, needs.feedback])).toEqual([
      ['alpha', 0, 'rejects'],
      ['alpha', 1, 'accepts'],
    ]);
    expect(metadata.inputs.map(({ name }) => name)).toEqual([
      'logProb',
      'accept',
      'reject',
      'mask',
      'kl/mean',
      'kl/covariance',
      'state/logKlWeight/mean',
    ]);
    expect(metadata.state).toEqual([
      {
        name: 'logKlWeight/mean',
        axes: ['D/mean'],
        initial: { setting: 'kl.mean.initialWeight', function: 'log', factor: 1 },
      },
    ]);
    expect(metadata.projectsState).toBe(true);
    expect([...metadata.settings.open].sort()).toEqual([
      'alpha',
      'kl.covariance',
      'kl.mean.epsilon',
      'kl.mean.initialWeight',
    ]);
    // Both parts have a weight or a bound of their own.
    expect(metadata.settings.unused).toEqual(['beta']);
  });

  it('takes MPO with its decoupled M-step, its action penalty and its duals', async () => {
    const policy = { ...gaussian, decoupled: true, boundViolation: true };
    const { metadata } = await exportOperator(registry.get('mpo'), {}, policy);
    expect(metadata.gradients).toEqual(
      expect.arrayContaining(['decoupledLogProb/mean', 'decoupledKl/covariance', 'state/logTemperature']),
    );
    expect(metadata.gradients).not.toContain('logProb');
    expect(metadata.state.map(({ name }) => name)).toContain('logPenaltyTemperature');
  });

  it("refuses a user's operator that reads a traced value", async () => {
    const reads = plugin(z.strictObject({}), (logProb) =>
      tf.mul(tf.sum(logProb), tf.mean(logProb).dataSync()[0]! > 0 ? 1 : 2),
    );
    await expect(exportOperator(reads)).rejects.toThrow(/read.*'mine'|'mine'.*read/i);
  });

  it('refuses an operator whose code branches on a length', async () => {
    const branches = plugin(z.strictObject({}), (logProb) =>
      tf.mul(tf.mean(logProb), logProb.shape[0] > 4 ? 1 : 2),
    );
    await expect(exportOperator(branches)).rejects.toThrow(
      "export of 'mine': its loss at N = 1, B = 1, D/sequence = 1 is not that of the graph traced at other lengths",
    );
  });

  it('refuses an operator whose code branches on a setting', async () => {
    const settings = z.strictObject({ weight: z.number().min(0).default(1) });
    const branches = plugin(settings, (logProb, { weight }) =>
      tf.mul(tf.mean(logProb), weight === 0 ? 7 : weight),
    );
    await expect(exportOperator(branches)).rejects.toThrow('weight = 0');
  });

  it('fixes settings that the graph cannot follow', async () => {
    const settings = z.strictObject({
      count: z.int().positive().default(3),
      power: z.number().default(2),
      weight: z.number().default(1),
    });
    const { metadata } = await exportOperator(
      plugin(settings, (logProb, { count, power, weight }) =>
        tf.mul(tf.mean(logProb), count * power ** 2 * weight),
      ),
    );
    expect(metadata.settings.open).toEqual(['weight']);
    expect(metadata.settings.unused).toEqual([]);
  });
});
