import { expect, test } from 'vitest';
import { z } from 'zod';
import { describeDefinitions } from './describe.js';

const definitions = [
  {
    name: 'one',
    description: 'the first',
    settings: z.strictObject({
      alpha: z.number().min(0).max(1).default(0.5).describe('a weight'),
      count: z.int().min(1),
      mode: z.enum(['a', 'b']).optional(),
      bound: z.union([z.number().positive(), z.strictObject({ epsilon: z.number() })]).default(2),
    }),
  },
  { name: 'two', description: 'from elsewhere', plugin: './mine.ts', settings: z.strictObject({}) },
];

test('describes every setting with its type, default and meaning', () => {
  expect(describeDefinitions(definitions, { json: false })).toBe(
    [
      'one: the first',
      '    alpha  number ≥ 0, ≤ 1          default 0.5  a weight',
      '    count  whole number ≥ 1         required',
      '    mode   a | b',
      '    bound  number > 0 or {epsilon}  default 2',
      '',
      'two (from ./mine.ts): from elsewhere',
      '',
    ].join('\n'),
  );
});

test('prints JSON with the settings as JSON Schema', () => {
  const described = JSON.parse(describeDefinitions(definitions, { json: true })) as object[];
  expect(described).toMatchObject([
    { name: 'one', settings: { properties: { alpha: { default: 0.5, maximum: 1 } } } },
    { name: 'two', plugin: './mine.ts' },
  ]);
});
