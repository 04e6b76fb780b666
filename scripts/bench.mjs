// `npm run bench NAME`: runs bench/NAME.ts, which prints one JSON object.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, fail, root, runNode } from './bootstrap.mjs';

const [name, ...args] = process.argv.slice(2);
const names = readdirSync(join(root, 'bench'))
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -'.ts'.length));
if (name === undefined || !existsSync(join(root, 'bench', `${name}.ts`))) {
  fail(`Usage: npm run bench NAME. Benchmarks: ${names.join(', ')}`, 2);
}
await ensureInstalled();
ensureBuilt();
process.exitCode = runNode([
  join(root, 'node_modules/tsx/dist/cli.mjs'),
  join(root, 'bench', `${name}.ts`),
  ...args,
]);
