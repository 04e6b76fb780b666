#!/usr/bin/env node
// `pmpo`: the program. In a clone, what is not installed or built yet is seen to first, so that `npx pmpo …` works in one
// where nothing has been run before.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = new URL('../dist/cli/main.js', import.meta.url);
// The package that npm installs has the built program and no sources.
if (existsSync(new URL('../src/cli', import.meta.url))) {
  const { ensureBuilt, ensureInstalled } = await import('./bootstrap.mjs');
  ensureInstalled();
  ensureBuilt();
}
// What it starts again by this name, the runs of a study say, is built already.
process.argv[1] = fileURLToPath(program);
await import(program.href);
