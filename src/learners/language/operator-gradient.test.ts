import { afterAll, describe, expect, it } from 'vitest';
import { fillNormal, foldIn, randomKey } from '../../core/random-keys.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import * as tf from '../../engine/tf.js';
import { createFeedbackRegistry } from '../../feedback/registry.js';
import { createOperatorRegistry } from '../../operators/registry.js';
import { type GradientInputs, OperatorGradient } from './operator-gradient.js';

const engines: Engine[] = [];
afterAll(async () => {
  for (const engine of engines) await engine.dispose();
});

/** Shapes: N samples, B contexts. */
const [N, B] = [4, 3];

function inputs(): GradientInputs {
  const normal = (name: string, size = N * B) =>
    fillNormal(foldIn(randomKey(1), name), new Float32Array(size));
  const mask = new Float32Array(N * B).fill(1);
  // One sample of context 1 is absent; its entries must never be read.
  mask[3 * B + 1] = 0;
  const logProb = normal('logProb').map((x) => x - 20);
  const evaluation = normal('evaluation');
  evaluation[3 * B + 1] = Number.NaN;
  return {
    samplesPerContext: N,
    contexts: B,
    logProb,
    referenceLogProb: normal('referenceLogProb').map((x) => x - 20),
    kl: normal('kl', B).map(Math.abs),
    evaluation,
    mask,
    length: new Float32Array(N * B).fill(3),
    mismatchedLogRatio: normal('mismatched'),
    reverseKl: normal('reverseKl', B).map(Math.abs),
    sampleValues: new Float32Array(N * B),
    sampleShape: [N, B, 1],
    contextValues: new Float32Array(B),
    contextShape: [B, 1],
  };
}

async function createStep(name: string, settings: object, kl: 'exact' | 'sampled' = 'exact') {
  const engine = await createEngine('onnx', { threads: 1 });
  engines.push(engine);
  const definition = createOperatorRegistry().get(name);
  const feedback = createFeedbackRegistry().get('top-k');
  return new OperatorGradient({
    engine,
    operator: definition.create(definition.settings.parse(settings)),
    classifier: feedback.create(feedback.settings.parse({}), N),
    classifierName: 'top-k',
    kl,
    stateLearningRate: 1e-2,
  });
}

describe('OperatorGradient', () => {
  it.each([
    ['pmpo', {}, 'exact'],
    ['pmpo', { alpha: 0, beta: 2 }, 'sampled'],
    ['dpo', { beta: 0.3 }, 'exact'],
    ['behavior-cloning', {}, 'exact'],
    ['pmpo', { reverseKl: true, perToken: true }, 'exact'],
    ['simpo', {}, 'exact'],
    ['grpo', { perToken: true, epsilon: 1, beta: 0.1 }, 'sampled'],
  ] as const)(
    '%s %j with a KL that is %s: the gradient agrees with finite differences',
    async (name, settings, kl) => {
      const step = await createStep(name, settings, kl);
      const given = inputs();
      const { logProb, kl: klGradient, reverseKl, metrics } = await step.run(given, 0);
      const lossAt = async (key: 'logProb' | 'kl' | 'reverseKl', i: number, by: number) => {
        const changed = { ...given, [key]: given[key].map((x, at) => (at === i ? x + by : x)) };
        return (await step.run(changed, 0)).metrics['policy/loss']!;
      };
      const size = 0.05;
      for (const [key, gradient] of [
        ['logProb', logProb],
        ['kl', klGradient],
        ['reverseKl', reverseKl],
      ] as const) {
        for (let i = 0; i < gradient.length; i++) {
          const difference = ((await lossAt(key, i, size)) - (await lossAt(key, i, -size))) / (2 * size);
          expect(gradient[i], `${key} ${i}`).toBeCloseTo(difference, 3);
        }
      }
      expect(Math.abs(logProb[3 * B + 1]!)).toBe(0);
      expect(metrics['policy/loss']).toBeTypeOf('number');
    },
  );

  it('gives samples the weights of equation 10', async () => {
    const { logProb, kl } = await (await createStep('pmpo', { alpha: 0.75, beta: 0.5 })).run(inputs(), 0);
    // The two samples of each side share its weight: −α/2 or (1 − α)/2, over B contexts.
    for (const value of logProb) {
      expect([-0.75 / 2 / B, 0.25 / 2 / B, 0.25 / B, 0].some((w) => Math.abs(w - value) < 1e-6)).toBe(true);
    }
    for (const value of kl) expect(value).toBeCloseTo(0.5 / B, 6);
  });

  it.each(['pmpo', 'dpo', 'ipo', 'kto', 'behavior-cloning', 'rejection-sampling'])(
    'gives %s no feedback from completions of equal reward',
    async (name) => {
      const step = await createStep(name, {});
      const evaluation = new Float32Array(N * B).map((_, i) => i % B);
      const { logProb, metrics } = await step.run({ ...inputs(), evaluation }, 0);
      expect(logProb.every((value) => value === 0)).toBe(true);
      const { 'policy/acceptRate': accept = 0, 'policy/rejectRate': reject = 0 } = metrics;
      expect([accept, reject]).toEqual([0, 0]);
    },
  );

  it("trains the operator's own state", async () => {
    const step = await createStep('mpo', {});
    const temperature = () => tf.tidy(() => Object.keys(step.state));
    expect(temperature()).toContain('operator/logTemperature');
    const first = await step.run(inputs(), 0);
    const second = await step.run(inputs(), 1);
    expect(second.metrics['policy/temperature']).not.toBe(first.metrics['policy/temperature']);
  });

  it('throws an error that names the number that is not finite', async () => {
    const step = await createStep('pmpo', {});
    const broken = { ...inputs(), logProb: new Float32Array(N * B).fill(Number.NaN) };
    await expect(step.run(broken, 7)).rejects.toThrow(
      /^update 7: .* is NaN: the parameters have diverged\. Lower/,
    );
  });
});
