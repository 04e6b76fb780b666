// Test results as counts, the one form in which test runs report to .ci/run. `node scripts/counts.mjs FILE…` prints the
// sum of files written by `writeCounts`; a file that is missing counts as one failure.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** @typedef {{passed: number, failed: number, skipped: number}} Counts */

/** @returns {Counts} */
export function addCounts(...all) {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const counts of all) for (const key of Object.keys(sum)) sum[key] += counts[key];
  return sum;
}

/** Counts of what vitest's JSON reporter wrote; a test file that could not be loaded is one failure. */
export function vitestCounts(file) {
  if (!existsSync(file)) return { passed: 0, failed: 1, skipped: 0 };
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    readFileSync(file, 'utf8'),
  );
  const unloaded = testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((result) => result.status === 'failed'),
  );
  return {
    passed: numPassedTests,
    failed: numFailedTests + unloaded.length,
    skipped: numPendingTests + numTodoTests,
  };
}

/** Counts of a JUnit XML report, as pytest writes it. */
export function junitCounts(file) {
  if (!existsSync(file)) return { passed: 0, failed: 1, skipped: 0 };
  const head = /<testsuite\b[^>]*>/.exec(readFileSync(file, 'utf8'))?.[0] ?? '';
  const read = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = read('failures') + read('errors');
  const skipped = read('skipped');
  return { passed: read('tests') - failed - skipped, failed, skipped };
}

/** Writes counts where the caller asked for them, if it did. */
export function writeCounts(file, counts) {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(counts)}\n`);
}

export function formatCounts({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const all = process.argv
    .slice(2)
    .map((file) =>
      existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 1, skipped: 0 },
    );
  console.log(formatCounts(addCounts(...all)));
}
