import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { fileProblem } from './atomic-file.js';
import { describeProcess, isRunning, type ProcessIdentity, thisProcess } from './process-identity.js';

/** One process at a time in a run's folder: two that went on with the same run would write over each other. */

export interface FolderLock {
  /** Gives the folder up. Harmless when called again. */
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

/** True when the lock is there with all of its content from its first moment, and is ours. */
async function take(file: string, mine: string): Promise<boolean> {
  const aside = `${file}.${process.pid}`;
  await writeFile(aside, mine);
  try {
    await link(aside, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(aside);
  }
}

/** Takes away the lock of a process that has ended, and no other: two may find the same one. */
async function clear(file: string, stale: string): Promise<void> {
  const aside = `${file}.${process.pid}.old`;
  try {
    await rename(file, aside);
    if ((await readFile(aside, 'utf8')) !== stale) await link(aside, file);
    await unlink(aside);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

/**
 * Takes the lock of a run's folder. That of a process which has ended, however it did, does not count.
 * @throws PmpoError when another process that lives has it, or one on another machine, of which that cannot be known.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const file = join(folder, fileName);
  const mine = `${JSON.stringify(thisProcess())}\n`;
  try {
    while (!(await take(file, mine))) {
      const text = await readFile(file, 'utf8').catch(() => '');
      const holder = parse(text);
      if (holder === undefined || isRunning(holder) === false) {
        await clear(file, text);
        continue;
      }
      const unknown = isRunning(holder) === undefined;
      throw new PmpoError({
        where: folder,
        what: `another process is at work on this run: ${describeProcess(holder)}`,
        remedy: unknown
          ? `If that one has ended, delete ${file}`
          : 'Stop that one first, or wait until it has ended',
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
