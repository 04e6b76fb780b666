import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { PmpoError } from '../errors.js';

/** A Python on this machine. */
export interface Interpreter {
  readonly command: string;
  /** Such as 3.11.7. */
  readonly version: string;
}

const oldest = [3, 10] as const;

async function versionOf(command: string): Promise<string | undefined> {
  try {
    const script = 'import sys; print(sys.version.split()[0])';
    const { stdout } = await promisify(execFile)(command, ['-c', script], { timeout: 30_000 });
    return stdout.trim();
  } catch {
    return undefined;
  }
}

function recent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

/**
 * The Python that the environment variable PYTHON names, or else `python3` or `python`.
 * @throws PmpoError when there is none of version 3.10 or newer.
 */
export async function findInterpreter(env: NodeJS.ProcessEnv = process.env): Promise<Interpreter> {
  const found: Interpreter[] = [];
  // What is named is meant: no other one is taken in its place.
  for (const command of env.PYTHON ? [env.PYTHON] : ['python3', 'python']) {
    const version = await versionOf(command);
    if (version === undefined) continue;
    if (recent(version)) return { command, version };
    found.push({ command, version });
  }
  const [old] = found;
  throw new PmpoError({
    where: env.PYTHON ? `PYTHON=${env.PYTHON}` : 'Python',
    what: old === undefined ? 'not found' : `${old.command} is ${old.version}`,
    remedy: `Install Python ${oldest.join('.')} or newer with its venv module, or set PYTHON to its path`,
  });
}
