// Finds a Redis server for tests: `redis-server` on the PATH or, on Debian and Ubuntu, the distribution's package, unpacked
// under .cache/redis without installing it, so that root is not needed. `node scripts/redis.mjs` prints how to start it.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, '.cache/redis');

const output = (command, args, options = {}) =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options });
const works = (command, args, env) =>
  spawnSync(command, args, { stdio: 'ignore', env: { ...process.env, ...env } }).status === 0;

/** The folders inside `path` that contain shared libraries. */
function libraryFolders(path) {
  const entries = readdirSync(path, { withFileTypes: true });
  const here = entries.some(({ name }) => name.includes('.so')) ? [path] : [];
  const below = entries.filter((entry) => entry.isDirectory());
  return [...here, ...below.flatMap(({ name }) => libraryFolders(join(path, name)))];
}

/** The unpacked server, or undefined if it is missing or does not start. */
function unpacked() {
  const command = join(folder, 'usr/bin/redis-server');
  if (!existsSync(command)) return undefined;
  const server = { command, env: { LD_LIBRARY_PATH: libraryFolders(folder).join(':') } };
  return works(command, ['--version'], server.env) ? server : undefined;
}

/** Downloads Debian packages and unpacks them into `target`. */
function unpack(packages, target) {
  const downloads = join(target, '.download');
  mkdirSync(downloads, { recursive: true });
  output('apt-get', ['download', ...packages], { cwd: downloads });
  for (const file of readdirSync(downloads)) output('dpkg', ['-x', join(downloads, file), target]);
  rmSync(downloads, { recursive: true });
}

/** Names of the shared libraries of `command` that the loader cannot find, such as `liblzf.so.1`. */
function missingLibraries(command) {
  return [...output('ldd', [command]).matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name);
}

/**
 * The command that starts a Redis server, and the environment variables that it needs.
 * @throws Error with the reason if there is no Redis server and it cannot be fetched.
 */
export function ensureRedis({ log = console.error } = {}) {
  if (works('redis-server', ['--version'])) return { command: 'redis-server', env: {} };
  const present = unpacked();
  if (present !== undefined) return present;
  if (!works('apt-get', ['--version']) || !works('dpkg', ['--version'])) {
    throw new Error(
      'redis-server is not on the PATH, and apt-get and dpkg, which could fetch it, are not available',
    );
  }
  log('Fetching redis-server into .cache/redis …');
  const aside = `${folder}.${process.pid}`;
  rmSync(aside, { recursive: true, force: true });
  try {
    unpack(['redis-server', 'redis-tools'], aside);
    const missing = missingLibraries(join(aside, 'usr/bin/redis-server'));
    const needed = [...output('apt-cache', ['depends', 'redis-tools']).matchAll(/^\s*Depends: (lib\S+)/gm)]
      .map(([, name]) => name)
      .filter((name) => missing.some((library) => name.startsWith(library.split('.so')[0])));
    if (needed.length > 0) unpack(needed, aside);
    rmSync(folder, { recursive: true, force: true });
    renameSync(aside, folder);
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    const reason = String(error.stderr ?? error.message).trim();
    throw new Error(`redis-server is not on the PATH and could not be fetched: ${reason}`);
  }
  const fetched = unpacked();
  if (fetched === undefined) throw new Error(`the redis-server in ${folder} does not start`);
  return fetched;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const { command, env } = ensureRedis();
    console.log([...Object.entries(env).map(([key, value]) => `${key}=${value}`), command].join(' '));
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
