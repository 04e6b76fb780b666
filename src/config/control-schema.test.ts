import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { formatPath } from '../core/key-path.js';
import { Registry } from '../core/registry.js';
import { explainIssues } from '../core/schema-problems.js';
import type { RegisteredFeedback } from '../feedback/classifier.js';
import { createRewardRegistry } from '../language/rewards/registry.js';
import type { RegisteredOperator } from '../operators/operator.js';
import { configSchema } from './control-schema.js';
import { jsonSchema } from './job-kinds.js';

function registries() {
  const operators = new Registry<RegisteredOperator>('operator');
  const feedback = new Registry<RegisteredFeedback>('feedback');
  const operator = (name: string, settings: z.ZodObject): RegisteredOperator => ({
    name,
    description: name,
    settings,
    defaultSamples: 4,
    create: () => {
      throw new Error('not created in this test');
    },
    complete: () => ({}),
    klParts: () => [],
  });
  const weight = z.union([z.number().min(0), z.strictObject({ epsilon: z.number().positive() })]);
  const kl = z.strictObject({ mean: weight.optional(), covariance: weight.optional() }).prefault({});
  operators.register(operator('pmpo', z.strictObject({ alpha: z.number().min(0).max(1).default(0.5), kl })));
  operators.register(operator('mpo', z.strictObject({ epsilon: z.number().positive().default(0.1) })));
  feedback.register({
    name: 'top-k',
    description: 'top-k',
    settings: z.strictObject({ accept: z.int().min(0).default(2) }),
    create: () => {
      throw new Error('not created in this test');
    },
    complete: () => ({}),
  });
  feedback.register({
    name: 'value-baseline',
    description: 'value-baseline',
    settings: z.strictObject({}),
    create: () => {
      throw new Error('not created in this test');
    },
    complete: () => ({}),
  });
  return { operators, feedback, rewards: createRewardRegistry() };
}

/** Each problem as one line: `path: what. remedy`. */
function problems(values: Record<string, unknown>): string[] {
  const schema = configSchema(registries());
  const complete = { environment: { simulator: 'cartpole_swingup' }, ...values };
  const { error } = schema.safeParse(complete);
  if (error === undefined) return [];
  return explainIssues(error, schema, complete).map(
    ({ path, what, remedy }) => `${formatPath(path)}: ${what}${remedy ? `. ${remedy}` : ''}`,
  );
}

describe('explainIssues', () => {
  test.each<[Record<string, unknown>, string]>([
    [{ sed: 1 }, "sed: unknown key. Did you mean 'seed'?"],
    [{ learner: { batchsize: 1 } }, "learner.batchsize: unknown key. Did you mean 'batchSize'?"],
    [{ batchSize: 1 }, "batchSize: unknown key. Did you mean 'learner.batchSize'?"],
    [
      { operator: { name: 'pmpo', alpah: 1 } },
      "operator.alpah: unknown key of the operator 'pmpo'. Did you mean 'alpha'?",
    ],
    [
      { operator: { name: 'mpo', alpha: 1 } },
      "operator.alpha: unknown key of the operator 'mpo'. Known here: name, epsilon. A setting of another operator must go with its name",
    ],
    [
      { operator: { name: 'pmop' } },
      "operator.name: unknown operator 'pmop'. Did you mean 'pmpo'? Known: pmpo, mpo",
    ],
    [{ operator: 'mpo' }, "operator: must be a group of settings, not 'mpo'. Write operator: {name: mpo}"],
    [{ operator: { name: 'pmpo', alpha: 2 } }, 'operator.alpha: must be at most 1, not 2'],
    [{ operator: { name: 'mpo', epsilon: 0 } }, 'operator.epsilon: must be greater than 0, not 0'],
    [
      { environment: { simulator: 'x', createSettings: { limit: { int8: 200 } } } },
      'environment.createSettings.limit.int8: must be at most 127, not 200',
    ],
    [
      { environment: { simulator: 'x', createSettings: { limit: { double: 1, float: 1 } } } },
      'environment.createSettings.limit: must have one type, such as {double: 10}',
    ],
    [
      { environment: { simulator: 'x', createSettings: { limit: { duoble: 1 } } } },
      "environment.createSettings.limit.duoble: unknown key. Did you mean 'double'?",
    ],
    [{ seed: 'one' }, "seed: must be a number, not 'one'"],
    [{ seed: 1.5 }, 'seed: must be a whole number, not 1.5'],
    [{ learner: { discount: Number.NaN } }, 'learner.discount: must be a finite number, not NaN'],
    [
      { replay: { capacity: Number.POSITIVE_INFINITY } },
      'replay.capacity: must be a finite number, not Infinity',
    ],
    [
      { engine: 'wsam' },
      "engine: must be one of 'auto', 'onnx', 'tfjs-node-gpu', 'tfjs-node', 'wasm', 'cpu', not 'wsam'. Did you mean 'wasm'?",
    ],
    [{ policy: { hidden: [] } }, 'policy.hidden: must have at least 1 item, not []'],
    [{ policy: { hidden: [64, 0] } }, 'policy.hidden[1]: must be at least 1, not 0'],
    [{ environment: undefined }, 'environment: is missing: it must be a group of settings'],
    [
      { environment: { address: 'nowhere' } },
      "environment.address: must be host:port without a scheme, such as 127.0.0.1:9000, not 'nowhere'",
    ],
    [
      { environment: { address: 'http://127.0.0.1:9000' } },
      "environment.address: must be host:port without a scheme, such as 127.0.0.1:9000, not 'http://127.0.0.1:9000'",
    ],
    [
      { environment: { createSettings: { task: [1] } } },
      'environment.createSettings.task: must be text, a number, true or false or {float: …, double: …, int8: …, int32: …, int64: …, uint8: …, uint32: …, uint64: …}, not [1]',
    ],
    [{ reference: { perod: 5 } }, "reference.perod: unknown key. Did you mean 'period'?"],
    [{ reference: { period: 0 } }, 'reference.period: must be at least 1, not 0'],
    [
      { reference: { period: 5, rate: 0.1 } },
      'reference: must be {period: …}, {rate: …} or \'initial\', not {"period":5,"rate":0.1}',
    ],
    [{ reference: 'first' }, "reference: must be {period: …}, {rate: …} or 'initial', not 'first'"],
    [{ operator: { name: 'pmpo', kl: { mena: 1 } } }, "operator.kl.mena: unknown key. Did you mean 'mean'?"],
    [{ operator: { name: 'pmpo', kl: { mean: -1 } } }, 'operator.kl.mean: must be at least 0, not -1'],
    [
      { operator: { name: 'pmpo', kl: { mean: { epsilon: 0 } } } },
      'operator.kl.mean.epsilon: must be greater than 0, not 0',
    ],
    [
      { operator: { name: 'pmpo', kl: { mean: 'much' } } },
      "operator.kl.mean: must be a number or {epsilon: …}, not 'much'",
    ],
    [{ name: 'a/b' }, "name: must be letters, digits, dots, dashes and underscores, not 'a/b'"],
  ])('%j', (values, line) => {
    expect(problems(values)).toEqual([line]);
  });

  test('has none with a setting that says its type', () => {
    expect(problems({ environment: { simulator: 'x', createSettings: { limit: { double: 10 } } } })).toEqual(
      [],
    );
  });

  test('lists every problem', () => {
    expect(problems({ seed: -1, learnr: {}, replay: { nStep: 0 } })).toHaveLength(3);
  });
});

test('the JSON Schema has every operator in both kinds of jobs, and requires only keys without a default', () => {
  type Kind = { required: string[]; properties: Record<string, unknown> };
  const [control, language] = (jsonSchema(registries()) as { anyOf: [Kind, Kind] }).anyOf;
  expect(control.required).toEqual(['environment']);
  expect(language.required).toEqual(['language']);
  for (const { properties } of [control, language]) {
    expect(JSON.stringify(properties.operator)).toContain('"const":"mpo"');
    expect(properties.seed).toMatchObject({ type: 'integer', minimum: 0, default: 0 });
  }
});
