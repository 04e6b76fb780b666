import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { cacheFolder } from '../system/cache-folder.js';
import { isRunning, type RunResult, runToEnd } from '../system/processes.js';
import { findInterpreter, type Interpreter } from './interpreter.js';

/** Python virtual environments in the user's cache: each is made once, never changed, and never used before it is complete. */

/** The folder of the Python environments. */
export function pythonFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(cacheFolder(env), 'python');
}

export interface VirtualEnvironmentOptions {
  /** The requirements file for pip, with exact versions; its name without `.txt` is the name of the environment. */
  readonly requirements: string;
  /**
   * Further requirements files, which add packages: pip installs these packages with their dependencies, and keeps the versions
   * of `requirements`. Relative paths in a file are relative to its folder.
   */
  readonly additions?: readonly string[];
  /** The folder in which environments are made. */
  readonly folder: string;
  /** Receives lines for a person about what is being done. */
  readonly say: (line: string) => void;
  /** Default: the result of `findInterpreter`. */
  readonly interpreter?: Interpreter;
  /**
   * Whether pip installs the dependencies of the listed packages, for lists whose dependencies differ between machines, such as
   * PyTorch's libraries for GPUs. Default: no, because the list is complete.
   */
  readonly withDependencies?: boolean;
  /** Stops the installation. */
  readonly signal?: AbortSignal;
}

/** A file that is written last: an environment without it is incomplete. */
const stampName = 'pmpo.json';
/** Part of the name of every environment: environments that an older pmpo made in another way are not used. */
const layout = 2;
const interpreterOf = (environment: string) => join(environment, 'bin', 'python');

/** Whether an environment is complete and its interpreter still exists: an uninstalled Python leaves a dangling link. */
async function isComplete(environment: string): Promise<boolean> {
  try {
    await Promise.all([stat(join(environment, stampName)), stat(interpreterOf(environment))]);
    return true;
  } catch {
    return false;
  }
}

let made = 0;

/** A unique name for an unfinished environment, which tells which process is making it. */
const temporaryOf = (path: string) => `${path}.${hostname()}.${process.pid}.${made++}`;

/** Removes unfinished environments that killed processes of this machine left behind. */
async function removeLeftovers(path: string, folder: string): Promise<void> {
  const [before, host] = [`${basename(path)}.${hostname()}.`, hostname()];
  const names = (await readdir(folder)).filter((name) => name.startsWith(before));
  for (const name of names) {
    const pid = Number.parseInt(name.slice(before.length), 10);
    if (Number.isNaN(pid) || isRunning({ host, pid, started: '' }) !== false) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** The last lines of a failed program, without those that are only warnings or advice. */
function problemOf({ code, lastLines }: RunResult): string {
  const lines = lastLines.filter((line) => line.trim() !== '' && !/^(warning|\[notice\]|note)\b/i.test(line));
  return lines.slice(-4).join(' | ').replace(/\.$/, '') || `it ended with exit code ${code}`;
}

/** Makes an environment at `temporary` and installs the requirements in it. @throws PmpoError if a step fails or is stopped. */
async function install(temporary: string, interpreter: Interpreter, options: VirtualEnvironmentOptions) {
  const { requirements, additions = [], signal } = options;
  const check = (result: RunResult, where: string, what: string, remedy: string) => {
    if (signal?.aborted) {
      throw new PmpoError({
        where: `the Python environment of ${basename(requirements)}`,
        what: 'stopped before it was complete',
        remedy: 'Run the same command again to make it',
      });
    }
    if (result.code !== 0) throw new PmpoError({ where, what: `${what}${problemOf(result)}`, remedy });
  };
  check(
    await runToEnd(interpreter.command, ['-m', 'venv', temporary], { signal }),
    interpreter.command,
    'it cannot make a virtual environment: ',
    "Install Python's venv module (Debian: apt install python3-venv)",
  );
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input'];
  const remedy =
    'Check that the package index is reachable and that the disk has room, and run the same command again';
  const add = async (file: string, args: readonly string[], cwd?: string) => {
    const result = await runToEnd(interpreterOf(temporary), [...pip, ...args], { signal, cwd });
    check(result, `pip install -r ${file}`, '', remedy);
  };
  const flags = options.withDependencies ? [] : ['--no-deps'];
  await add(requirements, [...flags, '--requirement', requirements]);
  for (const file of additions)
    await add(file, ['--requirement', file, '--constraint', requirements], dirname(file));
}

/**
 * Replaces the name of the folder in which an environment was made by the name under which it will be found, in its scripts
 * (`pip`, `activate`, …) and its configuration.
 */
async function renameInScripts(temporary: string, path: string): Promise<void> {
  const scripts = (await readdir(join(temporary, 'bin'), { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => join(temporary, 'bin', name));
  for (const file of [...scripts, join(temporary, 'pyvenv.cfg')]) {
    const bytes = await readFile(file).catch(() => Buffer.alloc(0));
    const isText = !bytes.includes(0);
    if (!isText || !bytes.includes(basename(temporary))) continue;
    // Overwriting keeps the file's permissions.
    await writeFile(file, bytes.toString('utf8').replaceAll(basename(temporary), basename(path)));
  }
}

/** @throws PmpoError if the file cannot be read. */
async function readRequirements(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const what = `it cannot be read: ${(cause as Error).message}`;
    throw new PmpoError({ where: file, what, remedy: 'Give a requirements file of pip', cause });
  }
}

/** Moves a finished environment to its path. If another process was faster, its environment stays, because it is the same. */
async function putInPlace(temporary: string, path: string): Promise<void> {
  const attempts = 5;
  for (let attempt = 1; ; attempt++) {
    try {
      return await rename(temporary, path);
    } catch (cause) {
      if (await isComplete(path)) return;
      const { code } = cause as NodeJS.ErrnoException;
      if (attempt === attempts || (code !== 'ENOTEMPTY' && code !== 'EEXIST')) throw cause;
    }
    // The environment at `path` is broken: its Python was uninstalled. Another process may replace it before it is moved away.
    const moved = `${temporary}.old`;
    await rename(path, moved).catch(() => {});
    if (await isComplete(moved)) await rename(moved, path).catch(() => {});
    await rm(moved, { recursive: true, force: true });
  }
}

/** How often a person hears that packages are still being installed. */
const sayEveryMilliseconds = 20_000;

/**
 * Makes a Python environment with exactly the packages of its requirements files, if it does not exist yet. The name of its folder
 * contains a hash of the files and of the Python version, so another list gives another environment, and an existing one is never
 * changed. Several processes may do this at once.
 *
 * @returns the path of its interpreter.
 * @throws PmpoError if there is no Python, a file cannot be read, pip fails (with pip's message), or `signal` is aborted.
 */
export async function ensureVirtualEnvironment(options: VirtualEnvironmentOptions): Promise<string> {
  const { requirements, folder, say } = options;
  const additions = (options.additions ?? []).map((file) => resolve(file));
  const interpreter = options.interpreter ?? (await findInterpreter());
  const name = [requirements, ...additions].map((file) => basename(file).replace(/\.txt$/, '')).join('+');
  const hash = createHash('sha256').update(`${layout}\0${interpreter.version}\0${interpreter.platform}\0`);
  for (const file of [requirements, ...additions]) hash.update(await readRequirements(file)).update('\0');
  // The same words may mean other packages elsewhere, because they may hold relative paths.
  for (const file of additions) hash.update(`${dirname(file)}\0`);
  const digest = hash.digest('hex');
  const path = join(folder, `${name}-${digest.slice(0, 12)}`);
  if (await isComplete(path)) return interpreterOf(path);
  say(`Making the Python environment '${name}' in ${path} with Python ${interpreter.version}, once …`);
  const temporary = temporaryOf(path);
  const started = performance.now();
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - started) / 1000);
    say(`pip downloads and installs the packages of '${name}', ${seconds} s so far …`);
  }, sayEveryMilliseconds);
  try {
    await mkdir(folder, { recursive: true });
    await removeLeftovers(path, folder);
    await rm(temporary, { recursive: true, force: true });
    await install(temporary, interpreter, { ...options, additions });
    await renameInScripts(temporary, path);
    const stamp = { name, digest, python: interpreter.version, platform: interpreter.platform };
    await writeFile(join(temporary, stampName), `${JSON.stringify(stamp)}\n`);
    await putInPlace(temporary, path);
  } catch (cause) {
    if (cause instanceof PmpoError) throw cause;
    throw new PmpoError({
      where: folder,
      what: `the Python environment cannot be made there: ${(cause as Error).message}`,
      remedy: 'Set PMPO_CACHE to a folder that is writable',
      cause,
    });
  } finally {
    clearInterval(timer);
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
  }
  say(`The Python environment '${name}' is ready`);
  return interpreterOf(path);
}

/** The names of the complete environments in `folder`. */
export async function madeEnvironments(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const complete = await Promise.all(names.map((name) => isComplete(join(folder, name))));
  return names.filter((_, i) => complete[i]).sort();
}
