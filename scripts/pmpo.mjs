#!/usr/bin/env node
// `pmpo`: the program. In a clone where nothing has been run yet it is installed and built first, so that `npx pmpo …` works.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = new URL('../dist/cli/main.js', import.meta.url);
// The package that npm installs has the built program and no sources.
if (existsSync(new URL('../src/cli', import.meta.url))) {
  const { buildState, ensureBuilt, ensureInstalled, say } = await import('./bootstrap.mjs');
  const state = buildState();
  if (state === 'none') {
    ensureInstalled();
    ensureBuilt();
  }
  // Not built again here: a study may be under way, whose runs are started from what is there.
  if (state === 'older')
    say('pmpo: src/ has changed since it was built; `npm run build` brings it up to date');
}
// What it starts again by this name, the runs of a study say, is the program itself.
process.argv[1] = fileURLToPath(program);
await import(program.href);
