// Makes the Python virtual environments for the programs that tests and benchmarks talk to: one for each requirements file,
// under .venvs/, made again only if the file changes. `node scripts/venv.mjs NAME` prints the path of the interpreter.
// A line such as `# pip: --no-deps` in the file gives pip more options. That one is for files that list every package, because
// the requirements that some of those packages declare contradict each other.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A Python of version 3.10 or newer, or undefined. */
export function findPython() {
  for (const candidate of [process.env.PYTHON, 'python3', 'python']) {
    if (!candidate) continue;
    try {
      const version = execFileSync(candidate, ['-c', 'import sys; print(sys.version_info >= (3, 10))'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      if (version.toString().trim() === 'True') return candidate;
    } catch {}
  }
  return undefined;
}

/**
 * The interpreter of the environment described by `test/interop/requirements/NAME.txt`, which is made first if necessary.
 * Throws an Error with pip's output if that fails.
 */
export function ensureVenv(name, { log = console.error } = {}) {
  const requirements = join(root, 'test/interop/requirements', `${name}.txt`);
  const text = readFileSync(requirements, 'utf8');
  const options = [...text.matchAll(/^# pip: (.+)$/gm)].flatMap(([, words]) => words.trim().split(/\s+/));
  const folder = join(root, '.venvs', name);
  const interpreter = join(folder, 'bin', 'python');
  const stamp = join(folder, 'requirements.sha256');
  const digest = createHash('sha256').update(text).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return interpreter;
  const python = findPython();
  if (python === undefined) throw new Error('no Python 3.10 or newer found (set PYTHON to its path)');
  log(`Making the Python environment '${name}' in .venvs/${name} …`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(root, '.venvs'), { recursive: true });
  const run = (command, args) =>
    execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28 });
  try {
    run(python, ['-m', 'venv', folder]);
    const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...options];
    run(interpreter, [...install, '-r', requirements]);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(
      `the environment '${name}' could not be created: ${String(error.stderr ?? error.message).trim()}`,
    );
  }
  writeFileSync(stamp, digest);
  return interpreter;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    console.log(ensureVenv(process.argv[2]));
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
