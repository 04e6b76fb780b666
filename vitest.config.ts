import { defineConfig } from 'vitest/config';

// Suites that need Python peers run by `npm run test:interop` only.
const interop = process.env.PMPO_INTEROP !== undefined;

export default defineConfig({
  test: {
    include: interop ? ['test/interop/**/*.test.ts'] : ['src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: interop ? ['node_modules/**'] : ['test/interop/**', 'node_modules/**'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is polled for comes when the machine gets to it: a second is not long on one that others use too.
    expect: { poll: { timeout: 30_000 } },
  },
});
