// `node scripts/page-scripts.mjs`: bundles the scripts of pages into src/: those that play episodes in a report and follow a run, from
// src/report/page, and that of `pmpo watch`, from src/watch/page. They contain everything they need, three.js included, because a page
// makes no requests to elsewhere. What the script of `pmpo watch` needs as WebAssembly is copied beside it.

import { copyFileSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const folder = fileURLToPath(new URL('../src/', import.meta.url));

/** The scripts: where they go, the modules that they begin with, and whose code they contain besides pmpo's. */
const scripts = {
  'report/player.js': { entry: 'report/page/entry.ts', format: 'iife', owners: [] },
  'report/player-3d.js': { entry: 'report/page/entry-3d.ts', format: 'iife', owners: ['three.js'] },
  'report/player-live.js': { entry: 'report/page/entry-live.ts', format: 'iife', owners: ['three.js'] },
  'watch/page.js': {
    entry: 'watch/page/entry.ts',
    format: 'esm',
    owners: ['three.js', 'MuJoCo', 'ONNX Runtime'],
  },
};

const licenses = {
  'three.js': 'three.js, copyright three.js authors, MIT license',
  MuJoCo: "MuJoCo's bindings, copyright DeepMind Technologies Limited, Apache-2.0 license",
  'ONNX Runtime': 'ONNX Runtime, copyright Microsoft Corporation, MIT license',
};

/** The text of a script. */
export async function pageScript(name) {
  const { entry, format, owners } = scripts[name];
  const { outputFiles } = await build({
    entryPoints: [join(folder, entry)],
    bundle: true,
    write: false,
    minify: true,
    format,
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'error',
    // MuJoCo's bindings import these in Node.js only.
    external: ['module', 'node:*'],
  });
  const owner = owners.length === 0 ? '' : ` With ${owners.map((who) => licenses[who]).join('; ')}.`;
  return `// Bundled by scripts/page-scripts.mjs when pmpo is built.${owner}\n${outputFiles[0].text}`;
}

/** Copies the WebAssembly of ONNX Runtime, which is no dependency of the package, beside the script that runs it. */
function copyRuntime() {
  const library = dirname(createRequire(import.meta.url).resolve('onnxruntime-web/wasm'));
  const source = join(library, 'ort-wasm-simd-threaded.wasm');
  const target = join(folder, 'watch/onnxruntime.wasm');
  const isCurrent =
    existsSync(target) &&
    statSync(target).size === statSync(source).size &&
    readFileSync(target).equals(readFileSync(source));
  if (isCurrent) return;
  copyFileSync(source, `${target}.new`);
  renameSync(`${target}.new`, target);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const name of Object.keys(scripts)) {
    const text = await pageScript(name);
    const target = join(folder, name);
    if (existsSync(target) && readFileSync(target, 'utf8') === text) continue;
    // Written aside first, so that an interrupted build leaves no half of it.
    writeFileSync(`${target}.new`, text);
    renameSync(`${target}.new`, target);
  }
  copyRuntime();
}
