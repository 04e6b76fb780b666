import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { fileProblem } from './atomic-file.js';
import { describeProcess, isRunning, type ProcessIdentity, thisProcess } from './processes.js';

/** A lock on a run's folder: two processes that continued the same run would overwrite each other's files. */

export interface FolderLock {
  /** Releases the lock. Calling it again has no effect. */
  release(): Promise<void>;
}

const fileName = 'lock.json';

function parse(text: string): ProcessIdentity | undefined {
  try {
    const { host, pid, started } = JSON.parse(text) as Partial<ProcessIdentity>;
    if (typeof host === 'string' && typeof pid === 'number' && typeof started === 'string')
      return { host, pid, started };
  } catch {}
  return undefined;
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

/** Tries to take the lock: true if it is ours now. A link appears with all of its content at once, a file written in place would not. */
async function tryTake(file: string, mine: string): Promise<boolean> {
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, mine);
  try {
    await link(temporary, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(temporary);
  }
}

/** Removes the lock of a process that has ended. Two processes may try this at once, so a lock that is not `stale` is put back. */
async function removeStale(file: string, stale: string): Promise<void> {
  const temporary = `${file}.${process.pid}.old`;
  try {
    await rename(file, temporary);
    if ((await readFile(temporary, 'utf8')) !== stale) await link(temporary, file);
    await unlink(temporary);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

/**
 * Takes the lock of a run's folder. The lock of a process that has ended, even by a crash, is replaced.
 * @throws PmpoError if a running process holds the lock, or one on another machine, which cannot be checked.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const file = join(folder, fileName);
  const mine = `${JSON.stringify(thisProcess())}\n`;
  try {
    while (!(await tryTake(file, mine))) {
      const text = await readFile(file, 'utf8').catch(() => '');
      const holder = parse(text);
      if (holder === undefined || isRunning(holder) === false) {
        await removeStale(file, text);
        continue;
      }
      const unknown = isRunning(holder) === undefined;
      throw new PmpoError({
        where: folder,
        what: `another process is working on this run: ${describeProcess(holder)}`,
        remedy: unknown
          ? `If that process has ended, delete ${file}`
          : 'Stop that process first, or wait until it has ended',
      });
    }
  } catch (cause) {
    throw fileProblem(file, 'locking the folder', cause);
  }
  let held = true;
  return {
    release: async () => {
      if (!held) return;
      held = false;
      const text = await readFile(file, 'utf8').catch(() => '');
      if (text === mine) await unlink(file).catch(() => {});
    },
  };
}

/** Whether a process works on the run in a folder. One on another machine, which cannot be checked, counts as working. */
export async function isLocked(folder: string): Promise<boolean> {
  const holder = parse(await readFile(join(folder, fileName), 'utf8').catch(() => ''));
  return holder !== undefined && isRunning(holder) !== false;
}
