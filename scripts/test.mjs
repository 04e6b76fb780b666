// `npm test`: installs, builds, then formatter, linter, types and tests. Arguments are handed on to vitest. Every part
// runs, even when one before it failed. With PMPO_TEST_RESULTS=FILE the results are written there as JSON as
// well; formatter and linter count as one test, types as another.

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

ensureInstalled();
ensureBuilt();

const bin = (path) => join(root, 'node_modules', path);
const scratch = mkdtempSync(join(tmpdir(), 'pmpo-results-'));
const vitestReport = join(scratch, 'vitest.json');

/** One part, by what it left: `resultsOf()` of a part that counts for itself; else it counts as one test. */
function part(name, args, resultsOf = () => noResults) {
  say(`\n── ${name}`);
  const code = runNode(args);
  const results = resultsOf();
  // What failed without a failing test (an error between tests, say) must not look like a success.
  if (code !== 0 && results.failures.length === 0) {
    return addResults(results, oneFailure(`${name}: ended with code ${code}`));
  }
  return results === noResults ? { ...noResults, passed: 1 } : results;
}

const results = addResults(
  part('Format and lint (biome)', [bin('@biomejs/biome/bin/biome'), 'check', '.']),
  part('Types (tsc)', [bin('typescript/bin/tsc'), '--noEmit']),
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
