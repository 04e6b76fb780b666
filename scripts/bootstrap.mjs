// Makes a clone ready to run: installs the packages in package-lock.json and compiles src/ into dist/, each only if necessary.
// It needs only Node.js and npm, and is quick if nothing has to be done.

import { spawn, spawnSync } from 'node:child_process';
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

/** Prints a line about set-up on standard error: standard output belongs to the program. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** Ends the program with `code` after printing `line`. */
export function fail(line, code = 1) {
  say(line);
  process.exit(code);
}

/** Runs a Node.js program in this terminal and returns its exit code. */
export function runNode(args, options = {}) {
  // The terminal sends Ctrl-C to the child as well; this process waits to return the child's exit code.
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

/** The packages of package-lock.json: where each goes, its version, and whether npm must install it. */
function lockedPackages() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages).flatMap(([path, { version, optional, peer }]) =>
    path === '' ? [] : [{ path, version, isNeeded: !(optional || peer) }],
  );
}

/**
 * Whether node_modules has every package, according to npm's record. It may have more, such as those that
 * `scripts/tfjs-node.mjs` adds.
 */
function isInstalled(packages) {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const present = JSON.parse(readFileSync(record, 'utf8')).packages;
  return packages.every(({ path, version, isNeeded }) => {
    const found = present[path];
    return found === undefined ? !isNeeded : found.version === version;
  });
}

/** Shows how many of the packages at `paths` are unpacked, until the function that it returns is called. */
function showInstallation(paths) {
  const { isTTY } = process.stderr;
  const start = Date.now();
  const show = () => {
    const present = paths.filter((path) => existsSync(join(root, path, 'package.json'))).length;
    const seconds = Math.round((Date.now() - start) / 1000);
    const state =
      present < paths.length ? `${present} of ${paths.length} packages` : 'running install scripts';
    process.stderr.write(`${isTTY ? '\r\x1b[K' : ''}  ${state}, ${seconds} s${isTTY ? '' : '\n'}`);
  };
  const timer = setInterval(show, isTTY ? 500 : 10_000);
  return () => {
    clearInterval(timer);
    if (isTTY) process.stderr.write('\r\x1b[K');
  };
}

/** Installs the dependencies if they are missing or differ from package-lock.json. */
export async function ensureInstalled() {
  if (Number.parseInt(process.versions.node, 10) < oldestNode) {
    fail(`pmpo: Node.js ${process.versions.node} is too old. Install version ${oldestNode} or newer`);
  }
  const packages = lockedPackages();
  if (isInstalled(packages)) return;
  const paths = packages.filter(({ isNeeded }) => isNeeded).map(({ path }) => path);
  say(`Installing ${paths.length} packages into node_modules (npm ci), which is done once …`);
  const windows = process.platform === 'win32';
  const done = showInstallation(paths);
  const status = await new Promise((resolve) => {
    spawn(windows ? 'npm.cmd' : 'npm', ['ci', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      shell: windows,
    })
      .once('error', (error) => fail(`pmpo: npm did not start: ${error.message}`))
      .once('exit', resolve);
  });
  done();
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

/** A digest that changes when a source is added, changed or deleted. */
function sourceDigest() {
  const hash = createHash('sha256');
  const settings = [
    'tsconfig.json',
    'tsconfig.build.json',
    'package-lock.json',
    'scripts/bootstrap.mjs',
    'scripts/tfjs-registrations.mjs',
    'scripts/page-scripts.mjs',
  ];
  for (const path of [...settings, ...filesUnder('src').filter((p) => !isTest(p))]) {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Deletes files in dist/ whose sources no longer exist. */
function removeOrphans(sources) {
  const stems = new Set(sources.filter(isCode).map((path) => path.slice('src/'.length, -'.ts'.length)));
  const assets = new Set(sources.filter((path) => !isCode(path)).map((path) => path.slice('src/'.length)));
  for (const path of filesUnder('dist')) {
    const name = path.slice('dist/'.length);
    const stem = name.replace(/(\.d\.ts|\.js|\.js\.map|\.d\.ts\.map)$/, '');
    if (name !== '.built' && !stems.has(stem) && !assets.has(name)) rmSync(join(root, path));
  }
}

/** Compiles src/ into dist/ and copies the other files of src/ there. */
export function build() {
  // The part of TensorFlow.js that Node cannot load by itself; it stays untouched if nothing has changed.
  if (runNode(['scripts/tfjs-registrations.mjs']) !== 0) fail('pmpo: TensorFlow.js could not be bundled');
  if (runNode(['scripts/page-scripts.mjs']) !== 0) fail('pmpo: the scripts of pages could not be bundled');
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

/** Whether dist/ exists, and whether it is current. */
export function buildState() {
  const stamp = join(root, 'dist/.built');
  if (!existsSync(stamp)) return 'none';
  return readFileSync(stamp, 'utf8') === sourceDigest() ? 'current' : 'older';
}

/** Builds if a source has changed since the last build. */
export function ensureBuilt() {
  if (buildState() === 'current') return;
  say('Building …');
  build();
}
