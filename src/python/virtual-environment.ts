import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { PmpoError } from '../errors.js';
import { findInterpreter, type Interpreter } from './interpreter.js';

/** Where what is made once and used again is kept: $PMPO_CACHE, or `pmpo` in the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.PMPO_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pmpo');
}

export interface VirtualEnvironmentOptions {
  /** What pip is given: exact versions. */
  readonly requirements: string;
  /** The folder under which environments stand. */
  readonly folder: string;
  readonly say: (line: string) => void;
  readonly interpreter?: Interpreter;
  readonly signal?: AbortSignal;
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The last lines of what a program said, which is where it says what went wrong. */
function lastWords(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  const lines = (stderr || message)
    .trim()
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^(warning|\[notice\])/i.test(line));
  return lines.slice(-4).join('\n');
}

/**
 * A Python environment with exactly what a requirements file lists, made when it is not there yet. Its folder is named
 * after the file, its contents and the Python: another list is another environment, and one that stands is never changed.
 *
 * @returns the path of its interpreter.
 * @throws PmpoError when there is no Python, or pip fails, in pip's words.
 */
export async function ensureVirtualEnvironment(options: VirtualEnvironmentOptions): Promise<string> {
  const { requirements, folder, say, signal } = options;
  const interpreter = options.interpreter ?? (await findInterpreter());
  const name = basename(requirements).replace(/\.txt$/, '');
  const text = await readFile(requirements);
  const digest = createHash('sha256').update(interpreter.version).update('\0').update(text).digest('hex');
  const path = join(folder, `${name}-${digest.slice(0, 12)}`);
  const python = join(path, 'bin', 'python');
  if (await exists(python)) return python;
  say(`Making the Python environment '${name}' in ${path}, once …`);
  await mkdir(folder, { recursive: true });
  // Made aside and put in place in one step, so that one that is cut short or made twice at once is never used.
  const aside = `${path}.${process.pid}`;
  const run = (command: string, args: readonly string[]) =>
    promisify(execFile)(command, [...args], { maxBuffer: 2 ** 26, signal });
  try {
    await run(interpreter.command, ['-m', 'venv', aside]).catch((cause: unknown) => {
      throw new PmpoError({
        where: interpreter.command,
        what: `it cannot make a virtual environment: ${lastWords(cause)}`,
        remedy: "Install Python's venv module (Debian: apt install python3-venv)",
        cause,
      });
    });
    await run(join(aside, 'bin', 'python'), [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '--requirement',
      requirements,
    ]).catch((cause: unknown) => {
      throw new PmpoError({
        where: `pip install -r ${requirements}`,
        what: lastWords(cause),
        remedy: 'Is the package index reachable? The same command tries again',
        cause,
      });
    });
    await rename(aside, path).catch(async (cause: unknown) => {
      // Somebody else was faster with the same: theirs will do.
      if (!(await exists(python))) throw cause;
    });
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return python;
}
