// `node scripts/remove-foreign-binaries.mjs`: onnxruntime-node carries its library for five platforms, 240 MB of which no single
// machine can load. This removes all but those of this platform. npm runs it after installing the package (`postinstall`)
// unless it is told not to run scripts; a clone runs it after `npm ci`.
//
// Set PMPO_KEEP_BINARIES=1 to keep everything, for example when node_modules is copied to another platform. npm's own --os and
// --cpu are respected.

import { existsSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const foldersIn = (path) =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

/** Removes the binaries of other platforms from the onnxruntime-node that `from`, the URL of a module, would load. */
export function removeForeignBinaries(from = import.meta.url, environment = process.env) {
  if (environment.PMPO_KEEP_BINARIES) return;
  const platform = environment.npm_config_os || process.platform;
  const architecture = environment.npm_config_cpu || process.arch;
  let binaries;
  try {
    binaries = join(dirname(createRequire(from).resolve('onnxruntime-node/package.json')), 'bin');
  } catch {
    return;
  }
  if (!existsSync(binaries)) return;
  for (const version of foldersIn(binaries)) {
    // Where this platform's own is missing, the layout is not the one that is known here.
    if (!existsSync(join(binaries, version, platform, architecture))) continue;
    for (const os of foldersIn(join(binaries, version))) {
      for (const cpu of foldersIn(join(binaries, version, os))) {
        if (os === platform && cpu === architecture) continue;
        try {
          rmSync(join(binaries, version, os, cpu), { recursive: true, force: true });
        } catch (error) {
          // Saving space must not make an installation fail.
          console.error(`pmpo: binaries of another platform could not be removed: ${error.message}`);
        }
      }
    }
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  removeForeignBinaries();
}
