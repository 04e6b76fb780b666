import { expect, test } from 'vitest';
import { searchWithCmaEs } from '../../../src/python/cma-es.js';

test('CMA-ES by its author searches the functions, from the starts that it is given', async () => {
  const searches = ['sphere', 'rosenbrock', 'schwefel'].map((fn, seed) => ({
    function: fn,
    start: [0.5, -0.25],
    seed,
  }));
  const request = { searches, stddev: 0.3, evaluations: 3000 };
  const { versions, traces } = await searchWithCmaEs(request, { say: () => {} });
  expect(versions).toMatchObject({ cma: expect.any(String), numpy: expect.any(String) });
  const [sphere, rosenbrock, schwefel] = traces;
  // Starts are in half-widths of the domain.
  expect(sphere![0]).toEqual([0, expect.closeTo(5.12 ** 2 * (0.5 ** 2 + 0.25 ** 2), 6)]);
  for (const trace of [sphere!, rosenbrock!]) expect(trace[trace.length - 1]![1]).toBeLessThan(1e-9);
  // It ends in one of many minima.
  expect(schwefel![schwefel!.length - 1]![1]).toBeGreaterThanOrEqual(-1e-3);
  for (const trace of traces) expect(trace[trace.length - 1]![0]).toBeLessThan(3100);
});
