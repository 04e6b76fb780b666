// Makes a clone ready to run: installs what package-lock.json names and compiles src/ into dist/, each only when it has
// to. Uses nothing but Node.js and npm, and is quick when everything is there.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { removeForeignBinaries } from './remove-foreign-binaries.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url));
const oldestNode = 20;

/** Prints a line about set-up; on standard error, so that standard output stays the program's own. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** Ends the program with `code` after printing `line`. */
export function fail(line, code = 1) {
  say(line);
  process.exit(code);
}

/** Runs a Node.js program to its end with this terminal; returns its exit code. */
export function runNode(args, options = {}) {
  // Ctrl-C reaches the child by the terminal; this process stays to hand on the child's exit code.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  try {
    const { status, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', ...options });
    if (error !== undefined) throw error;
    return status ?? 1;
  } finally {
    process.off('SIGINT', ignore);
  }
}

/**
 * Whether node_modules holds what package-lock.json asks for, by npm's own record of what it installed. It may hold more: what
 * `scripts/tfjs-node.mjs` adds, say.
 */
function isInstalled() {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(record, 'utf8')).packages;
  const missing = Object.entries(wanted).some(([path, { version, optional, peer }]) => {
    if (path === '') return false;
    const found = present[path];
    return found === undefined ? !(optional || peer) : found.version !== version;
  });
  return !missing;
}

/** Installs the dependencies when they are not there, or not those of package-lock.json. */
export function ensureInstalled() {
  if (Number.parseInt(process.versions.node, 10) < oldestNode) {
    fail(`pmpo: this is Node.js ${process.versions.node}. Version ${oldestNode} or newer is needed`);
  }
  if (isInstalled()) return;
  say('Installing dependencies (npm ci) …');
  const windows = process.platform === 'win32';
  const { status, error } = spawnSync(windows ? 'npm.cmd' : 'npm', ['ci', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: windows,
  });
  if (error !== undefined) fail(`pmpo: npm could not be started: ${error.message}`);
  if (status !== 0) fail('pmpo: npm ci failed; its output is above');
  removeForeignBinaries();
}

/** Every file under `folder`, as paths from the root, sorted. */
function filesUnder(folder) {
  const found = [];
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...filesUnder(path));
    else if (entry.isFile()) found.push(path);
  }
  return found.sort();
}

const isTest = (path) => /\.test\.ts$/.test(path);
const isCode = (path) => path.endsWith('.ts') && !path.endsWith('.d.ts');

/** A digest that changes when a source is added, changed or taken away. */
function sourceDigest() {
  const hash = createHash('sha256');
  const settings = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', 'scripts/bootstrap.mjs'];
  for (const path of [...settings, ...filesUnder('src').filter((p) => !isTest(p))]) {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Takes away what an earlier build made of sources that are gone. */
function removeOrphans(sources) {
  const stems = new Set(sources.filter(isCode).map((path) => path.slice('src/'.length, -'.ts'.length)));
  const assets = new Set(sources.filter((path) => !isCode(path)).map((path) => path.slice('src/'.length)));
  for (const path of filesUnder('dist')) {
    const name = path.slice('dist/'.length);
    const stem = name.replace(/(\.d\.ts|\.js|\.js\.map|\.d\.ts\.map)$/, '');
    if (name !== '.built' && !stems.has(stem) && !assets.has(name)) rmSync(join(root, path));
  }
}

/** Compiles src/ into dist/, and copies what is not code beside it. */
export function build() {
  const stamp = join(root, 'dist/.built');
  const digest = sourceDigest();
  rmSync(stamp, { force: true });
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  if (runNode([compiler, '-p', 'tsconfig.build.json']) !== 0) fail('pmpo: the build failed');
  const sources = filesUnder('src').filter((path) => !isTest(path));
  for (const path of sources.filter((p) => !isCode(p))) {
    const target = join(root, 'dist', relative('src', path));
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, path), target);
  }
  removeOrphans(sources);
  writeFileSync(stamp, digest);
}

/** How dist/ stands to src/. */
export function buildState() {
  const stamp = join(root, 'dist/.built');
  if (!existsSync(stamp)) return 'none';
  return readFileSync(stamp, 'utf8') === sourceDigest() ? 'current' : 'older';
}

/** Builds when a source is newer than what was built. */
export function ensureBuilt() {
  if (buildState() === 'current') return;
  say('Building …');
  build();
}
