// `npm test`: installs, builds, then formatter, linter, types and tests. Arguments are handed on to vitest. Every part
// runs, even when one before it failed. With PMPO_TEST_RESULTS=FILE the counts are written there as JSON as well;
// formatter and linter count as one test, types as another.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, root, runNode, say } from './bootstrap.mjs';
import { addCounts, formatCounts, vitestCounts, writeCounts } from './counts.mjs';

ensureInstalled();
ensureBuilt();

const bin = (path) => join(root, 'node_modules', path);
const scratch = mkdtempSync(join(tmpdir(), 'pmpo-results-'));
const vitestResults = join(scratch, 'vitest.json');

/** One part: its counts, and the code it ended with. */
function part(name, args, countsOf) {
  say(`\n── ${name}`);
  const code = runNode(args);
  const counts = countsOf(code);
  // What failed without a failing test (an error between tests, say) must not look like a success.
  return code !== 0 && counts.failed === 0 ? addCounts(counts, { passed: 0, failed: 1, skipped: 0 }) : counts;
}
const one = (code) => ({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 });

const counts = addCounts(
  part('Format and lint (biome)', [bin('@biomejs/biome/bin/biome'), 'check', '.'], one),
  part('Types (tsc)', [bin('typescript/bin/tsc'), '--noEmit'], one),
  part(
    'Tests (vitest)',
    [
      bin('vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${vitestResults}`,
      ...process.argv.slice(2),
    ],
    () => vitestCounts(vitestResults),
  ),
);
rmSync(scratch, { recursive: true, force: true });
writeCounts(process.env.PMPO_TEST_RESULTS, counts);
say(`\n${formatCounts(counts)}`);
process.exitCode = counts.failed === 0 ? 0 : 1;
