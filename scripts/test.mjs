// `npm test`: installs, builds, then formatter, linter, types and unit tests. Arguments are handed on to vitest. All
// parts run even when one fails. With PMPO_TEST_RESULTS=FILE, vitest's results are written there as JSON as well.

import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, root, runNode, say } from './bootstrap.mjs';

ensureInstalled();
ensureBuilt();

const bin = (path) => join(root, 'node_modules', path);
const results = process.env.PMPO_TEST_RESULTS;
const reporters =
  results === undefined ? [] : ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
const parts = [
  ['Format and lint (biome)', [bin('@biomejs/biome/bin/biome'), 'check', '.']],
  ['Types (tsc)', [bin('typescript/bin/tsc'), '--noEmit']],
  ['Tests (vitest)', [bin('vitest/vitest.mjs'), 'run', ...reporters, ...process.argv.slice(2)]],
];

const failed = parts.filter(([name, args]) => {
  say(`\n── ${name}`);
  return runNode(args) !== 0;
});
say(failed.length === 0 ? '\nAll passed.' : `\nFailed: ${failed.map(([name]) => name).join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
