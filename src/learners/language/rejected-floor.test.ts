import { afterAll, expect, it } from 'vitest';
import { TabularModel } from '../../../test/support/tabular-model.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import { createFeedbackRegistry } from '../../feedback/registry.js';
import { createOperatorRegistry } from '../../operators/registry.js';
import type { LanguageBatch } from './batch.js';
import { OperatorGradient } from './operator-gradient.js';
import { updateModel } from './update.js';

const engines: Engine[] = [];
afterAll(() => Promise.all(engines.map((engine) => engine.dispose())));

/** Token 1 then token 2, with an end; rejected if `label` is −1. */
const batchOf = (...labels: number[]): LanguageBatch => [
  {
    prompt: { text: '', tokens: Int32Array.of(0), row: {} },
    completions: labels.map((label) => ({
      text: 'ab',
      tokens: Int32Array.of(label < 0 ? 1 : 3, 2),
      finishReason: 'stop',
      evaluation: label,
    })),
  },
];

interface Options {
  readonly rejectedFloor?: number;
  readonly operator?: string;
  readonly batch?: LanguageBatch;
}

/** π_θ(y_t)/π_ref(y_t) of the rejected tokens after training, for π_ref(1) = 0.01 and π_ref(2) = 0.6. */
async function ratios(
  settings: object,
  { rejectedFloor, operator = 'pmpo', batch = batchOf(-1) }: Options = {},
): Promise<number[]> {
  const model = new TabularModel({ positions: 2, vocabulary: 4 });
  const reference = [
    [0.04, 0.01, 0.6, 0.35],
    [0.1, 0.1, 0.6, 0.2],
  ].map((row) => Float64Array.from(row, Math.log));
  model.reference = reference;
  model.policy = reference.map((row) => row.slice());
  const definition = createOperatorRegistry().get(operator);
  const label = createFeedbackRegistry().get('label');
  const engine = await createEngine('onnx', { threads: 1 });
  engines.push(engine);
  const operatorGradient = new OperatorGradient({
    engine,
    operator: definition.create(definition.settings.parse(settings)),
    classifier: label.create(label.settings.parse({}), 1),
    classifierName: 'label',
    kl: 'exact',
    stateLearningRate: 1e-2,
  });
  const options = {
    model,
    operatorGradient,
    samples: batch[0].completions.length,
    paddedTokens: { prompt: 1, completion: 2 },
    exactKl: true,
    reverseKl: false,
    mismatched: false,
    maxGradientNorm: 0,
    rejectedFloor,
  };
  for (let update = 0; update < 1500; update++) await updateModel(batch, update, 0.2, options);
  const probability = (logits: Float64Array, token: number) =>
    Math.exp(logits[token]!) / logits.reduce((sum, x) => sum + Math.exp(x), 0);
  return [1, 2].map((token, t) => probability(model.policy[t]!, token) / Math.exp(reference[t]![token]!));
}

it.each([
  [0, 2, 0.1],
  [0.5, 0.25, 0.5],
])(
  'with α = %d and β = %d, a rejected completion goes to the floor of %d and stays there',
  async (alpha, beta, rejectedFloor) => {
    const [first, second] = await ratios({ alpha, beta }, { rejectedFloor });
    // The last step below the floor is as long as any other.
    expect(first * second).toBeGreaterThan(0.4 * rejectedFloor);
    expect(first * second).toBeLessThan(1.5 * rejectedFloor);
  },
);

it('without a floor an unlikely token falls without end, at a β that bounds the loss for samples of the reference', async () => {
  const [rare] = await ratios({ alpha: 0, beta: 2 });
  expect(rare).toBeLessThan(1e-3);
});

it('accepted completions have no floor', async () => {
  const accepted = batchOf(1);
  const settings = { alpha: 0.5, beta: 1 };
  expect(await ratios(settings, { batch: accepted, rejectedFloor: 0.5 })).toEqual(
    await ratios(settings, { batch: accepted }),
  );
});
