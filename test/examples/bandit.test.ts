import { expect, test } from 'vitest';
import { searchHimmelblau } from '../../examples/bandit/my-function.js';
import { median } from '../../src/core/statistics.js';

test('examples/bandit/my-function.ts searches a function of the user with every method', async () => {
  const found = await searchHimmelblau(40);
  expect([...found.keys()]).toEqual(['accepted and rejected', 'accepted alone', 'rejected alone', 'DPO']);
  for (const [name, values] of found) {
    expect(values, name).toHaveLength(8);
    // In the middle of the domain the function is 170.
    expect(median(values), name).toBeLessThan(5);
  }
});
