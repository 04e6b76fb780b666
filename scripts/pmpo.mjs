#!/usr/bin/env node
// `pmpo`: the program. In a fresh clone it is installed and built first, so that `npx pmpo …` works at once.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = new URL('../dist/cli/main.js', import.meta.url);
// A clone has sources; the installed package has only the built program.
if (existsSync(new URL('../src/cli', import.meta.url))) {
  const { buildState, ensureBuilt, ensureInstalled, say } = await import('./bootstrap.mjs');
  const state = buildState();
  if (state === 'none') {
    await ensureInstalled();
    ensureBuilt();
  }
  // A stale build is not replaced here: a study may be running, and its runs must all use the same build.
  if (state === 'older')
    say('pmpo: src/ has changed since it was built; `npm run build` brings it up to date');
}
// The program starts itself again by this path, for example for the runs of a study.
process.argv[1] = fileURLToPath(program);
await import(program.href);
