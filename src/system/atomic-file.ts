import { open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PmpoError } from '../core/errors.js';

/** An open file. */
export interface OpenFile {
  writev(parts: readonly Uint8Array[]): Promise<{ readonly bytesWritten: number }>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The file system calls that writing needs; a parameter, so that tests can simulate a failing disk. */
export interface FileSystem {
  open(path: string, flags: string): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
}

export const nodeFileSystem: FileSystem = { open, rename, unlink };

/** Linux's writev accepts at most 1024 buffers (IOV_MAX) and 2 GiB per call. */
const buffersPerCall = 512;
const bytesPerCall = 2 ** 30;

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'Free some space there',
  EDQUOT: 'Free some space there',
  EACCES: 'Give this user write permission, or choose another folder with --output',
  EPERM: 'Give this user write permission, or choose another folder with --output',
  EROFS: 'Choose another folder with --output',
  EISDIR: 'A folder has that name: remove it or choose another name',
  ENOTDIR: 'A part of the path is a file: remove it or choose another folder',
};

const meanings: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'the file system is read-only',
  ENOENT: 'there is no such file or folder',
};

/**
 * Turns the error of a file operation into one that names the file, what happened, and what to do.
 * @param doing the operation, such as `writing it`.
 */
export function fileProblem(path: string, doing: string, cause: unknown): PmpoError {
  if (cause instanceof PmpoError) return cause;
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return new PmpoError({
    where: path,
    what: `${doing} failed: ${meanings[code] ?? message}`,
    remedy: remedies[code],
    cause,
  });
}

/** A view of `part` from byte `start`, no longer than one call can take. */
function rest(part: Uint8Array, start: number): Uint8Array {
  return part.subarray(start, Math.min(part.length, start + bytesPerCall));
}

/** Writes all parts in order with as few calls as possible, and continues after short writes. */
async function writeAll(file: OpenFile, parts: readonly Uint8Array[]): Promise<void> {
  let index = 0;
  let offset = 0;
  while (index < parts.length) {
    const batch: Uint8Array[] = [];
    let size = 0;
    for (let i = index; i < parts.length && batch.length < buffersPerCall && size < bytesPerCall; i++) {
      const piece = rest(parts[i]!, i === index ? offset : 0);
      batch.push(piece);
      size += piece.length;
    }
    let written = size === 0 ? 0 : (await file.writev(batch)).bytesWritten;
    if (written === 0 && size > 0) throw Object.assign(new Error('nothing was written'), { code: 'ENOSPC' });
    while (index < parts.length && written >= parts[index]!.length - offset) {
      written -= parts[index]!.length - offset;
      offset = 0;
      index++;
    }
    offset += written;
  }
}

/** Makes a rename survive a power failure. Some file systems cannot sync a folder; the content of the file is safe anyway. */
async function syncFolder(path: string, system: FileSystem): Promise<void> {
  try {
    const folder = await system.open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch {}
}

/**
 * Writes a file so that `path` holds either its previous content or all of the new content at every moment: the content
 * goes to a temporary file in the same folder, is synced to the disk, and is renamed to `path`.
 * @param parts the content, in order; they are not joined in memory.
 * @throws PmpoError that names the file; the previous file is then unchanged and the temporary file is removed.
 */
export async function writeAtomically(
  path: string,
  parts: string | readonly Uint8Array[],
  system: FileSystem = nodeFileSystem,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
  try {
    const file = await system.open(temporary, 'w');
    try {
      await writeAll(file, typeof parts === 'string' ? [Buffer.from(parts)] : parts);
      await file.sync();
    } finally {
      await file.close();
    }
    await system.rename(temporary, path);
  } catch (cause) {
    await system.unlink(temporary).catch(() => undefined);
    throw fileProblem(path, 'writing it', cause);
  }
  await syncFolder(dirname(path), system);
}
