import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError } from '../core/errors.js';

/** Files that a command makes for a user, who may have one of that name already. */

/**
 * @param remedy what to do if the file is there.
 * @throws ConfigError if the file is there, or its folder is not.
 */
export function checkNewFile(file: string, remedy: string): void {
  checkAbsent(file, remedy);
  if (!existsSync(dirname(file)))
    throw new ConfigError({
      where: file,
      what: 'there is no such folder',
      remedy: 'Make it, or give another',
    });
}

/** @param remedy what to do if the file is there. @throws ConfigError if it is. */
export function checkAbsent(file: string, remedy: string): void {
  if (existsSync(file)) throw new ConfigError({ where: file, what: 'the file is there already', remedy });
}

/** Writes a file that is not there yet. @throws ConfigError if it is, or cannot be written. */
export async function writeNewFile(file: string, text: string): Promise<void> {
  await writeFile(file, text, { flag: 'wx' }).catch((cause: Error) => {
    throw new ConfigError({ where: file, what: `it cannot be written: ${cause.message}`, cause });
  });
}
