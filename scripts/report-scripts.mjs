// `node scripts/report-scripts.mjs`: writes src/report/player*.js, the scripts that play episodes in a report and follow a run, from
// src/report/page. They contain everything they need, three.js included, because a report makes no requests.

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const folder = fileURLToPath(new URL('../src/report/', import.meta.url));

/** The scripts: their names, and the modules that they begin with. */
const scripts = {
  'player.js': 'page/entry.ts',
  'player-3d.js': 'page/entry-3d.ts',
  'player-live.js': 'page/entry-live.ts',
};

/** The text of a script. */
export async function reportScript(name) {
  const { outputFiles } = await build({
    entryPoints: [`${folder}${scripts[name]}`],
    bundle: true,
    write: false,
    minify: true,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'error',
  });
  const owner = name !== 'player.js' ? ' With three.js, copyright three.js authors, MIT license.' : '';
  return `// Bundled by scripts/report-scripts.mjs when pmpo is built.${owner}\n${outputFiles[0].text}`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const name of Object.keys(scripts)) {
    const text = await reportScript(name);
    const target = `${folder}${name}`;
    if (existsSync(target) && readFileSync(target, 'utf8') === text) continue;
    // Written aside first, so that an interrupted build leaves no half of it.
    writeFileSync(`${target}.new`, text);
    renameSync(`${target}.new`, target);
  }
}
