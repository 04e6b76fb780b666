import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { cacheFolder } from '../system/cache-folder.js';
import { type RunResult, runToEnd } from '../system/child-process.js';
import { isRunning } from '../system/process-identity.js';
import { findInterpreter, type Interpreter } from './interpreter.js';

/** Python environments in the user's cache: made once, never changed, and never used half-made. */

/** Where Python environments stand. */
export function pythonFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(cacheFolder(env), 'python');
}

export interface VirtualEnvironmentOptions {
  /** What pip is given: a file with exact versions, whose name without `.txt` is the environment's. */
  readonly requirements: string;
  /** The folder under which environments stand. */
  readonly folder: string;
  /** Told in plain lines what is being done. */
  readonly say: (line: string) => void;
  /** Default: what `findInterpreter` finds. */
  readonly interpreter?: Interpreter;
  /**
   * Whether pip adds what the listed packages need: where that differs with the machine, as with PyTorch's libraries for
   * GPUs. Default: the list is complete.
   */
  readonly withDependencies?: boolean;
  /** Stops the making. */
  readonly signal?: AbortSignal;
}

/** Written when everything is installed: an environment without it is not one. */
const stampName = 'pmpo.json';
const interpreterOf = (environment: string) => join(environment, 'bin', 'python');

/** Whether all of it is there: a Python that was uninstalled leaves a link that leads nowhere. */
async function isWhole(environment: string): Promise<boolean> {
  try {
    await Promise.all([stat(join(environment, stampName)), stat(interpreterOf(environment))]);
    return true;
  } catch {
    return false;
  }
}

let made = 0;

/** A name for what is half-made, that nobody else uses and that says who makes it. */
const asideOf = (path: string) => `${path}.${hostname()}.${process.pid}.${made++}`;

/** Takes away what processes of this machine left half-made when they were killed. */
async function removeLeftovers(path: string, folder: string): Promise<void> {
  const [before, host] = [`${basename(path)}.${hostname()}.`, hostname()];
  const names = (await readdir(folder)).filter((name) => name.startsWith(before));
  for (const name of names) {
    const pid = Number.parseInt(name.slice(before.length), 10);
    if (Number.isNaN(pid) || isRunning({ host, pid, started: '' }) !== false) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** What a program said of what went wrong: its last lines without those that are only advice. */
function problemOf({ code, lastWords }: RunResult): string {
  const lines = lastWords.filter((line) => line.trim() !== '' && !/^(warning|\[notice\]|note)\b/i.test(line));
  return lines.slice(-4).join('\n').replace(/\.$/, '') || `it ended with exit code ${code}`;
}

/** Makes an environment at `aside` with everything in it. @throws PmpoError */
async function install(aside: string, interpreter: Interpreter, options: VirtualEnvironmentOptions) {
  const { requirements, signal } = options;
  const check = (result: RunResult, where: string, what: string, remedy: string) => {
    if (signal?.aborted) {
      throw new PmpoError({
        where: `the Python environment of ${basename(requirements)}`,
        what: 'stopped before it was made',
        remedy: 'The same command makes it',
      });
    }
    if (result.code !== 0) throw new PmpoError({ where, what: `${what}${problemOf(result)}`, remedy });
  };
  check(
    await runToEnd(interpreter.command, ['-m', 'venv', aside], signal),
    interpreter.command,
    'it cannot make a virtual environment: ',
    "Install Python's venv module (Debian: apt install python3-venv)",
  );
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input'];
  if (!options.withDependencies) pip.push('--no-deps');
  check(
    await runToEnd(interpreterOf(aside), [...pip, '--requirement', requirements], signal),
    `pip install -r ${requirements}`,
    '',
    'Is the package index reachable, and is there room on the disk? The same command tries again',
  );
}

/** Puts a finished environment in its place. Somebody else who was faster with the same is left there: theirs will do. */
async function putInPlace(aside: string, path: string): Promise<void> {
  const attempts = 5;
  for (let attempt = 1; ; attempt++) {
    try {
      return await rename(aside, path);
    } catch (cause) {
      if (await isWhole(path)) return;
      const { code } = cause as NodeJS.ErrnoException;
      if (attempt === attempts || (code !== 'ENOTEMPTY' && code !== 'EEXIST')) throw cause;
    }
    // What stands there is broken: its Python has gone. Somebody else may replace it between the look and the move.
    const moved = `${aside}.old`;
    await rename(path, moved).catch(() => {});
    if (await isWhole(moved)) await rename(moved, path).catch(() => {});
    await rm(moved, { recursive: true, force: true });
  }
}

/**
 * A Python environment with exactly what a requirements file lists (and what that needs, if so asked) and nothing else, made
 * when it is not there yet. Its folder is named
 * after the file, its contents and the Python: another list is another environment, and one that stands is never changed.
 * Several processes may do this at once.
 *
 * @returns the path of its interpreter.
 * @throws PmpoError when there is no Python, pip fails (in pip's words), or `signal` is aborted.
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
  if (await isWhole(path)) return interpreterOf(path);
  say(`Making the Python environment '${name}' in ${path} with Python ${interpreter.version}, once …`);
  const aside = asideOf(path);
  try {
    await mkdir(folder, { recursive: true });
    await removeLeftovers(path, folder);
    await rm(aside, { recursive: true, force: true });
    await install(aside, interpreter, options);
    const stamp = { name, digest, python: interpreter.version, platform: interpreter.platform };
    await writeFile(join(aside, stampName), `${JSON.stringify(stamp)}\n`);
    await putInPlace(aside, path);
  } catch (cause) {
    if (cause instanceof PmpoError) throw cause;
    throw new PmpoError({
      where: folder,
      what: `the Python environment cannot be put there: ${(cause as Error).message}`,
      remedy: 'Set PMPO_CACHE to a folder that can be written to',
      cause,
    });
  } finally {
    await rm(aside, { recursive: true, force: true }).catch(() => {});
  }
  say(`The Python environment '${name}' is made`);
  return interpreterOf(path);
}

/** The names of the environments that have been made under `folder`. */
export async function madeEnvironments(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  const whole = await Promise.all(names.map((name) => isWhole(join(folder, name))));
  return names.filter((_, i) => whole[i]).sort();
}
