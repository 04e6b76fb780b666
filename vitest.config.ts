import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/longest-first.js';

// Suites that need Python peers run only in `npm run test:interop`.
const interop = process.env.PMPO_INTEROP !== undefined;

const src = fileURLToPath(new URL('src', import.meta.url));

export default defineConfig({
  // Tests and examples import the package by its public names, and get the sources.
  resolve: {
    alias: [
      { find: /^pmpo$/, replacement: `${src}/index.ts` },
      { find: /^pmpo\/([\w-]+)$/, replacement: `${src}/$1/index.ts` },
    ],
  },
  test: {
    include: interop ? ['test/interop/**/*.test.ts'] : ['src/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: interop ? ['node_modules/**'] : ['test/interop/**', 'node_modules/**'],
    globalSetup: 'test/build.ts',
    // Threads of what globalSetup has built: see src/core/worker-entry.ts.
    env: { PMPO_BUILT_THREADS: '1' },
    // Tests that run commands of the built program get its modules as Node loads them.
    server: { deps: { external: [/\/dist\//] } },
    // By default one fewer than there are cores, which is one on two cores; many tests wait for other processes.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    sequence: { sequencer: LongestFirst },
    // These limits are for tests that hang. On a shared machine a test may take several times as long as it takes alone, and
    // a polled condition may take longer than vitest's default of one second.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
