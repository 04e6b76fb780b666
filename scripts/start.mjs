// `npm start [-- FILE.yaml] [--operator NAME] [--set key=value …]`: installs, builds and trains. All arguments are
// passed to `pmpo train`; without a file it trains examples/cartpole.yaml.

import { readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ensureBuilt, ensureInstalled, root, runNode, say } from './bootstrap.mjs';

// A relative path, as a person would type it, because the report prints the command.
const defaultConfig = relative(process.cwd(), join(root, 'examples/cartpole.yaml'));
const given = process.argv.slice(2);
/** The options of `pmpo train` that take a value: the argument after one of them is not a file. */
const valued = new Set(['--set', '--operator', '--seed', '--output', '--name', '--resume', '--ui-port']);
const namesFile = given.some((arg, i) => !arg.startsWith('-') && !valued.has(given[i - 1]));
const needsFile = !namesFile && !given.some((arg) => arg === '--help' || arg.startsWith('--resume'));

await ensureInstalled();
ensureBuilt();
const args = ['train', ...(needsFile ? [defaultConfig] : []), ...given];
process.exitCode = runNode([join(root, 'dist/cli/main.js'), ...args], { cwd: process.cwd() });

/** The folder of the run that was made last. */
function newestRun() {
  const at = given.lastIndexOf('--output');
  const output = at < 0 ? 'runs' : (given[at + 1] ?? 'runs');
  const madeAt = (name) =>
    statSync(join(output, name, 'config.yaml'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const [newest = 'NAME'] = readdirSync(output).sort((a, b) => madeAt(b) - madeAt(a));
  return join(output, newest);
}

if (process.exitCode === 0 && needsFile) {
  const next = [
    [`npx pmpo watch ${newestRun()}`, 'the policy in your browser: push it with the mouse'],
    ['npm start -- --operator mpo', 'the same task with another operator'],
    ['npm start -- examples/language/tiny.yaml', 'a language model learns to write kind reviews'],
    ['npx pmpo init', 'a configuration for a simulator, a server or a data set of yours'],
  ];
  const width = Math.max(...next.map(([command]) => command.length));
  say('\nWhat to try next:');
  for (const [command, what] of next) say(`  ${command.padEnd(width)}  ${what}`);
}
