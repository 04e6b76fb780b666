import { defineConfig } from 'vitest/config';

// Suites that need Python peers run by `npm run test:interop` only.
const interop = process.env.PMPO_INTEROP !== undefined;

export default defineConfig({
  test: {
    include: interop ? ['test/interop/**/*.test.ts'] : ['src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: interop ? ['node_modules/**'] : ['test/interop/**', 'node_modules/**'],
    // For what hangs only: on a machine that others use too, a test may take several times what it takes alone, and what
    // is polled for more than the second that vitest would wait.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
