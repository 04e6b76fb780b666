import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
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
  return lines.slice(-4).join('\n').replace(/\.$/, '') || `it ended with exit code ${code}`;
}

/** Makes an environment at `temporary` and installs the requirements in it. @throws PmpoError if a step fails or is stopped. */
async function install(temporary: string, interpreter: Interpreter, options: VirtualEnvironmentOptions) {
  const { requirements, signal } = options;
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
    await runToEnd(interpreter.command, ['-m', 'venv', temporary], signal),
    interpreter.command,
    'it cannot make a virtual environment: ',
    "Install Python's venv module (Debian: apt install python3-venv)",
  );
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input'];
  if (!options.withDependencies) pip.push('--no-deps');
  check(
    await runToEnd(interpreterOf(temporary), [...pip, '--requirement', requirements], signal),
    `pip install -r ${requirements}`,
    '',
    'Check that the package index is reachable and that the disk has room, and run the same command again',
  );
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

/**
 * Makes a Python environment with exactly the packages of a requirements file, if it does not exist yet. The name of its folder
 * contains a hash of the file and of the Python version, so another list gives another environment, and an existing one is never
 * changed. Several processes may do this at once.
 *
 * @returns the path of its interpreter.
 * @throws PmpoError if there is no Python, pip fails (with pip's message), or `signal` is aborted.
 */
export async function ensureVirtualEnvironment(options: VirtualEnvironmentOptions): Promise<string> {
  const { requirements, folder, say } = options;
  const interpreter = options.interpreter ?? (await findInterpreter());
  const name = basename(requirements).replace(/\.txt$/, '');
  const digest = createHash('sha256')
    .update(`${interpreter.version}\0${interpreter.platform}\0`)
    .update(await readFile(requirements))
    .digest('hex');
  const path = join(folder, `${name}-${digest.slice(0, 12)}`);
  if (await isComplete(path)) return interpreterOf(path);
  say(`Making the Python environment '${name}' in ${path} with Python ${interpreter.version}, once …`);
  const temporary = temporaryOf(path);
  try {
    await mkdir(folder, { recursive: true });
    await removeLeftovers(path, folder);
    await rm(temporary, { recursive: true, force: true });
    await install(temporary, interpreter, options);
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
