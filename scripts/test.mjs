// `npm test`: installs, builds, then formatter, linter, types and tests. Arguments are passed to vitest. Every part
// runs, even if an earlier one failed. PMPO_TEST_RESULTS=FILE also writes the results to a file as JSON. Formatter and linter count
// as one test, types as another.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, root, runNode, say } from './bootstrap.mjs';
import {
  addResults,
  formatCounts,
  formatFailures,
  noResults,
  oneFailure,
  vitestResults,
  writeResults,
} from './results.mjs';

await ensureInstalled();
ensureBuilt();

const bin = (path) => join(root, 'node_modules', path);
const types = (project) => [bin('typescript/bin/tsc'), '--noEmit', '-p', project];
const scratch = mkdtempSync(join(tmpdir(), 'pmpo-results-'));
const vitestReport = join(scratch, 'vitest.json');

/** Runs one part. It counts as one test, unless `resultsOf` gives its results. */
function part(name, args, resultsOf = () => noResults) {
  say(`\n── ${name}`);
  const code = runNode(args);
  const results = resultsOf();
  // A failure outside of any test, such as an error between tests, must not look like a success.
  if (code !== 0 && results.failures.length === 0) {
    return addResults(results, oneFailure(`${name}: ended with code ${code}`));
  }
  return results === noResults ? { ...noResults, passed: 1 } : results;
}

const results = addResults(
  part('Format and lint (biome)', [bin('@biomejs/biome/bin/biome'), 'check', '.']),
  part('Types (tsc)', types('tsconfig.json')),
  part('Types of what runs in browsers (tsc)', types('tsconfig.browser.json')),
  part('Types of scripts (tsc)', types('tsconfig.scripts.json')),
  part(
    'Tests (vitest)',
    [
      bin('vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${vitestReport}`,
      ...process.argv.slice(2),
    ],
    () => vitestResults(vitestReport),
  ),
);
rmSync(scratch, { recursive: true, force: true });
writeResults(process.env.PMPO_TEST_RESULTS, results);
say(`\n${formatFailures(results)}${formatCounts(results)}`);
process.exitCode = results.failures.length === 0 ? 0 : 1;
