// Test results as test runs report them to .ci/run: counts, and a line for each failure. `node scripts/results.mjs FILE…` prints the
// failures and the sum of the files that `writeResults` wrote; a missing file counts as one failure.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * The results of a test run. `failures` has a line for each failed test: its name, and the first line of the reason.
 * @typedef {{passed: number, skipped: number, failures: string[]}} Results
 */

/** @type {Results} */
export const noResults = { passed: 0, skipped: 0, failures: [] };

/** @returns {Results} */
export const oneFailure = (line) => ({ ...noResults, failures: [line] });

/** @returns {Results} */
export function addResults(...all) {
  return {
    passed: all.reduce((sum, { passed }) => sum + passed, 0),
    skipped: all.reduce((sum, { skipped }) => sum + skipped, 0),
    failures: all.flatMap(({ failures }) => failures),
  };
}

/** The results that a run left in a file, or a failure that says that it left none. */
export function readResults(file) {
  return existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : oneFailure(`${basename(file)}: ended before it wrote its results`);
}

/** Writes results where the caller asked for them, if it did. */
export function writeResults(file, results) {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(results)}\n`);
}

/** Results of what vitest's JSON reporter wrote; a test file that could not be loaded is one failure. */
export function vitestResults(file) {
  if (!existsSync(file)) return oneFailure('vitest: ended before it wrote its results');
  const report = JSON.parse(readFileSync(file, 'utf8'));
  const failures = report.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const failed = assertionResults.filter((result) => result.status === 'failed');
    const of = relative(process.cwd(), name);
    return failed.length === 0 && status === 'failed'
      ? [failureLine(of, message)]
      : failed.map(({ fullName, failureMessages }) => failureLine(`${of} > ${fullName}`, failureMessages[0]));
  });
  return {
    passed: report.numPassedTests,
    skipped: report.numPendingTests + report.numTodoTests,
    failures,
  };
}

const failureLine = (test, message = '') => `${test}: ${message.trim().split('\n')[0]}`;

export function formatCounts({ passed, failures, skipped }) {
  return `${passed} passed, ${failures.length} failed, ${skipped} skipped`;
}

/** The failures, a line each, for the end of a long output; empty where there is none. */
export function formatFailures({ failures }) {
  return failures.map((line) => `FAILED ${line}\n`).join('');
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const results = addResults(...process.argv.slice(2).map(readResults));
  console.log(`${formatFailures(results)}${formatCounts(results)}`);
}
