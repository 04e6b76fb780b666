import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { type FileSystem, nodeFileSystem, writeAtomically } from './atomic-file.js';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-atomic-'));
  file = join(folder, 'state.bin');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: as the system words it`), { code });
}

/** A file system in which one call fails; writev fails after a part of the data has been written. */
function failing(call: 'open' | 'writev' | 'sync' | 'rename', code: string): FileSystem {
  const fail = async () => {
    throw failure(code);
  };
  return {
    ...nodeFileSystem,
    ...(call === 'rename' ? { rename: fail } : {}),
    open: async (path, flags) => {
      if (call === 'open') throw failure(code);
      const handle = await open(path, flags);
      return {
        sync: () => (call === 'sync' ? fail() : handle.sync()),
        close: () => handle.close(),
        writev: async (buffers) => {
          if (call !== 'writev') return handle.writev(buffers);
          // A full disk accepts the bytes that still fit before it reports an error.
          await handle.write(new Uint8Array([9, 9]));
          throw failure(code);
        },
      };
    },
  };
}

describe('writeAtomically', () => {
  it('writes text and parts, replaces the previous file and leaves no other file', async () => {
    await writeAtomically(file, 'größer');
    expect(await readFile(file, 'utf8')).toBe('größer');
    await writeAtomically(file, [new Uint8Array([1, 2]), new Uint8Array(0), new Uint8Array([3])]);
    expect([...(await readFile(file))]).toEqual([1, 2, 3]);
    expect(await readdir(folder)).toEqual(['state.bin']);
  });

  it('writes an empty file', async () => {
    await writeAtomically(file, []);
    expect(await readFile(file)).toHaveLength(0);
  });

  it('continues after short writes and splits content that is too large for one call', async () => {
    const parts = Array.from({ length: 1300 }, (_, i) => new Uint8Array(i % 7).fill(i % 256));
    const short: FileSystem = {
      ...nodeFileSystem,
      open: async (path, flags) => {
        const handle = await open(path, flags);
        return {
          sync: () => handle.sync(),
          close: () => handle.close(),
          writev: async (buffers) => {
            const bytes = Buffer.concat(buffers).subarray(0, 11);
            const { bytesWritten } = await handle.write(bytes);
            return { bytesWritten };
          },
        };
      },
    };
    await writeAtomically(file, parts, short);
    expect((await readFile(file)).equals(Buffer.concat(parts))).toBe(true);
  });

  for (const call of ['open', 'writev', 'sync', 'rename'] as const) {
    it(`keeps the previous file when ${call} finds the disk full`, async () => {
      await writeFile(file, 'before');
      const attempt = writeAtomically(file, [new Uint8Array(100)], failing(call, 'ENOSPC'));
      await expect(attempt).rejects.toThrow(PmpoError);
      await expect(attempt).rejects.toThrow(`${file}: writing it failed: the disk is full. Free some space`);
      expect(await readFile(file, 'utf8')).toBe('before');
      expect(await readdir(folder)).toEqual(['state.bin']);
    });
  }

  it('describes known errors in words, and others in the words of the system', async () => {
    await expect(writeAtomically(file, 'x', failing('open', 'EROFS'))).rejects.toThrow(
      'the file system is read-only. Choose another folder',
    );
    await expect(writeAtomically(file, 'x', failing('sync', 'EIO'))).rejects.toThrow('EIO: as the system');
    await expect(writeAtomically(join(folder, 'no', 'x'), 'x')).rejects.toThrow('no such file or folder');
    await mkdir(file);
    await expect(writeAtomically(file, 'x')).rejects.toThrow('A folder has that name');
    expect(await readdir(folder)).toEqual(['state.bin']);
  });

  it.skipIf(!existsSync('/dev/full'))('reports a device that is really full', async () => {
    await writeFile(file, 'before');
    const full: FileSystem = {
      ...nodeFileSystem,
      open: (path, flags) => open(flags === 'w' ? '/dev/full' : path, flags),
    };
    await expect(writeAtomically(file, 'x', full)).rejects.toThrow(
      `${file}: writing it failed: the disk is full`,
    );
    expect(await readFile(file, 'utf8')).toBe('before');
  });
});
