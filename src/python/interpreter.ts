import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { PmpoError } from '../core/errors.js';

/** A Python interpreter on this machine. */
export interface Interpreter {
  readonly command: string;
  /** For example 3.11.7. */
  readonly version: string;
  /** The platform for which packages are built, for example linux-x86_64. */
  readonly platform: string;
}

const oldest = [3, 10] as const;

/** The version of an interpreter; undefined if it does not run. */
async function examine(command: string): Promise<Interpreter | undefined> {
  try {
    const script = 'import sys, sysconfig; print(sys.version.split()[0], sysconfig.get_platform())';
    const { stdout } = await promisify(execFile)(command, ['-c', script], { timeout: 30_000 });
    const [version = '', platform = ''] = stdout.trim().split(' ');
    return { command, version, platform };
  } catch {
    return undefined;
  }
}

function isRecent({ version }: Interpreter): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

/**
 * Finds the interpreter that the environment variable PYTHON names, or else `python3` or `python`.
 * @throws PmpoError if none of version 3.10 or newer is found.
 */
export async function findInterpreter(env: NodeJS.ProcessEnv = process.env): Promise<Interpreter> {
  let tooOld: Interpreter | undefined;
  // An interpreter that is named explicitly is never replaced by another one.
  for (const command of env.PYTHON ? [env.PYTHON] : ['python3', 'python']) {
    const found = await examine(command);
    if (found === undefined) continue;
    if (isRecent(found)) return found;
    tooOld ??= found;
  }
  throw new PmpoError({
    where: env.PYTHON ? `PYTHON=${env.PYTHON}` : 'Python',
    what: tooOld === undefined ? 'not found' : `${tooOld.command} is ${tooOld.version}`,
    remedy: `Install Python ${oldest.join('.')} or newer with its venv module, or set PYTHON to its path`,
  });
}
