import { expect, it } from 'vitest';
import { returnSteps } from './return-steps.js';

it.each([
  [undefined, [0, 0], 5],
  [undefined, [3], 1],
  [undefined, [0, 3], 1],
  [2, [3], 2],
  [1, [0], 1],
])('nStep %s with actions of %j values gives returns of %s steps', (nStep, values, steps) => {
  expect(returnSteps({ nStep }, Int32Array.from(values))).toBe(steps);
});
