import { expect, it } from 'vitest';
import type { DType, NamedSpecs } from '../../environments/environment.js';
import { reservedObservations } from './reserved-observations.js';

const specs = (shapes: Readonly<Record<string, readonly number[]>>, dtype: DType = 'float32'): NamedSpecs =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { name, shape, dtype }]));

it.each([
  [{ reward: [] }, 1, ['reward']],
  [{ reward: [1], discount: [1, 1], state: [7] }, 1, ['reward', 'discount']],
  [{ reward: [3], discount: [3, 1] }, 3, ['reward', 'discount']],
])('%j holds one number for each of %s simulators', (shapes, size, names) => {
  expect(reservedObservations('there', specs(shapes), size)).toEqual(names);
});

it.each<[string, NamedSpecs, number]>([
  ['reward', specs({ reward: [2] }), 1],
  ['reward', specs({ reward: [-1] }), 1],
  ['reward', specs({ reward: [0] }), 1],
  ['reward', specs({ reward: [] }, 'string'), 1],
  ['discount', { ...specs({ reward: [] }), ...specs({ discount: [2] }) }, 1],
  ['reward', specs({ reward: [2] }), 4],
])('a %s of another form is refused', (name, given, size) => {
  expect(() => reservedObservations('there', given, size)).toThrow(
    new RegExp(`^there: the observation '${name}' is .* and must be one number`),
  );
});
