// `npm run docs`: makes the documentation site, docs/site/public/index.html, from README.md, docs/ and the docstrings of the public
// modules. TypeDoc is installed in docs/site, apart from the program's packages, because it needs an older TypeScript. A link that
// leads nowhere is an error.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureInstalled, fail, root, runNode, say } from './bootstrap.mjs';

const folder = join(root, 'docs/site');

/** Installs TypeDoc if it is missing, or its lock file has changed since. */
function ensureTypeDoc() {
  const digest = createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .digest('hex');
  const stamp = join(folder, 'node_modules/.installed');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return;
  say('Installing TypeDoc into docs/site/node_modules …');
  const windows = process.platform === 'win32';
  execFileSync(
    windows ? 'npm.cmd' : 'npm',
    ['ci', '--ignore-scripts', '--no-fund', '--no-audit', '--loglevel=error'],
    {
      cwd: folder,
      stdio: ['ignore', 2, 2],
      shell: windows,
    },
  );
  writeFileSync(stamp, digest);
}

await ensureInstalled();
ensureTypeDoc();
rmSync(join(folder, 'public'), { recursive: true, force: true });
const status = runNode([join(folder, 'node_modules/typedoc/bin/typedoc')], { cwd: folder });
if (status !== 0) fail('pmpo: the documentation has faults, which are named above', status);
say(`The documentation is ${join(folder, 'public/index.html')}`);
