import { afterEach, describe, expect, it } from 'vitest';
import { type Numbers, readFixture } from '../../../test/references/read.js';
import { randomKey } from '../../core/random-keys.js';
import { gaussianFamily } from '../../distributions/gaussian.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import type { HostTensor, NamedVariables } from '../../engine/tensors.js';
import { valueBaseline } from '../../feedback/value-baseline.js';
import { createOperatorRegistry } from '../../operators/registry.js';
import { createParameters } from '../control/parameters.js';
import { ImprovementStep } from '../improvement-step.js';
import type { OfflineLearnerConfig } from './config.js';
import { evaluateActions, improveOffline, type OfflineInputs, type OfflineSpec } from './update.js';

type Tree = Readonly<Record<string, Numbers>>;

interface Case {
  readonly actions: OfflineLearnerConfig['learner']['actions'];
  readonly operator: { readonly name: string };
  readonly operatorWeight: number;
  readonly behaviorCloning: number;
  readonly policy: Tree;
  readonly reference: Tree;
  readonly critics: readonly Tree[];
  readonly targetCritics: readonly Tree[];
  readonly inputs: Tree;
  readonly evaluation: Numbers;
  readonly baseline: Numbers;
  readonly metrics: Readonly<Record<string, number>>;
}

const { sizes, cases } = readFixture<{
  readonly sizes: Readonly<
    Record<'samples' | 'observationSize' | 'actionSize' | 'policy' | 'critic', number>
  >;
  readonly cases: readonly Case[];
}>('offline_torch');

const network = (width: number) => ({
  hidden: [width],
  activation: 'relu' as const,
  layerNorm: false,
  residual: false,
});

function host(numbers: Numbers): HostTensor & { readonly data: Float32Array } {
  const shape: number[] = [];
  for (let at = numbers; Array.isArray(at); at = at[0] as Numbers) shape.push(at.length);
  return { shape, data: Float32Array.from([numbers].flat(9) as number[]) };
}

function configOf({ actions, operatorWeight, behaviorCloning }: Case): OfflineLearnerConfig {
  return {
    seed: 0,
    policy: {
      ...network(sizes.policy),
      head: 'gaussian',
      bins: 11,
      uniformShare: 0,
      minStddev: 0.05,
      initialStddev: 0.5,
    },
    critic: {
      ...network(sizes.critic),
      head: 'scalar',
      bins: 11,
      ensemble: 2,
      aggregate: 'mean',
      learningRate: 1e-3,
      weightDecay: 0,
      normalizeTargets: false,
      target: { period: 10 },
    },
    reference: { period: 10 },
    learner: {
      actions,
      operatorWeight,
      behaviorCloning,
      updates: 1,
      batchSize: 5,
      samples: sizes.samples,
      normalizeObservations: false,
      learningRate: 1e-3,
      weightDecay: 0,
      stateLearningRate: 1e-2,
      decayFrom: 1,
      maxGradientNorm: 1e6,
      discount: 0.9,
    },
    dataset: { nStep: 1, megabytes: 1 },
    evaluation: { every: 1, episodes: 1 },
    checkpoint: { every: 1, keep: 1 },
  };
}

let engine: Engine | undefined;
afterEach(async () => engine?.dispose());

/** The metrics of one update from the parameters of a case, on an engine. */
async function updated(one: Case) {
  engine = await createEngine('cpu');
  const { name, ...settings } = one.operator;
  const config = configOf(one);
  const spec: OfflineSpec = {
    config,
    operator: createOperatorRegistry().get(name).create(settings),
    family: gaussianFamily(config.policy),
    observationSize: sizes.observationSize,
    actionSize: sizes.actionSize,
    actionMinimum: Float32Array.of(-1, -1),
    actionMaximum: Float32Array.of(1, 1),
    actionValues: Int32Array.of(0, 0),
  };
  const parameters = createParameters(engine, spec, randomKey(0));
  const set = async (variables: NamedVariables, values: Tree) => {
    expect(Object.keys(variables).sort()).toEqual(Object.keys(values).sort());
    for (const [key, value] of Object.entries(values)) await engine!.write(variables[key]!, host(value));
  };
  await set(parameters.policy, one.policy);
  await set(parameters.reference, one.reference);
  for (const i of [0, 1]) {
    await set(parameters.critics[i]!, one.critics[i]!);
    await set(parameters.targetCritics[i]!, one.targetCritics[i]!);
  }
  let seen: { evaluation: Float32Array; baseline: Float32Array } | undefined;
  const classifier = valueBaseline();
  const step = new ImprovementStep({
    engine,
    classifierName: 'value-baseline',
    // On the host, where evaluation and baseline can be looked at.
    classifier: {
      provides: classifier.provides,
      classifyOnHost: ({ evaluation, baseline, contexts }) => {
        seen = { evaluation, baseline };
        const advantage = evaluation.map((value, i) => value - baseline[i % contexts]!);
        return {
          accept: advantage.map((a) => Number(a > 0)),
          reject: advantage.map((a) => Number(a < 0)),
        };
      },
    },
    evaluate: (inputs: OfflineInputs) => evaluateActions(spec, parameters, inputs),
    improve: (batch) => ({
      metrics: improveOffline(spec, parameters, batch),
      results: {},
    }),
  });
  const inputs = Object.fromEntries(Object.entries(one.inputs).map(([key, value]) => [key, host(value)]));
  const { metrics } = await step.run(
    { ...inputs, learningRateFactor: { shape: [], data: Float32Array.of(1) } } as never,
    0,
  );
  return { metrics, ...seen! };
}

describe('an update on fixed data', () => {
  it.each(cases.map((one) => ({ one, name: `${one.operator.name} on ${one.actions}` })))(
    'has the values, losses and gradients of PyTorch: $name',
    async ({ one }) => {
      const { metrics, evaluation, baseline } = await updated(one);
      const close = (actual: ArrayLike<number>, expected: Numbers, label: string) => {
        const wanted = host(expected).data;
        expect(actual.length, label).toBe(wanted.length);
        for (const [i, value] of wanted.entries()) expect(actual[i], `${label}[${i}]`).toBeCloseTo(value, 4);
      };
      close(evaluation, one.evaluation, 'evaluation');
      close(baseline, one.baseline, 'baseline');
      for (const [name, value] of Object.entries(one.metrics)) {
        expect(Math.abs(metrics[name]! - value) / Math.max(1, Math.abs(value)), name).toBeLessThan(1e-4);
      }
    },
  );

  it('is one family of weights on accepted and rejected actions: rejects with as much cloning are accepts alone', async () => {
    const base = cases.find(({ operator }) => 'alpha' in operator && operator.alpha === 0)!;
    const rejects = await updated({ ...base, behaviorCloning: 1 });
    await engine!.dispose();
    const accepts = await updated({
      ...base,
      behaviorCloning: 0,
      operator: { ...base.operator, alpha: 1 } as Case['operator'],
    });
    expect(rejects.metrics['policy/gradientNorm']).toBeCloseTo(accepts.metrics['policy/gradientNorm']!, 4);
    expect(rejects.metrics['policy/loss']).toBeCloseTo(accepts.metrics['policy/loss']!, 4);
  });
});
