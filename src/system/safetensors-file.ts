import { type FileHandle, open } from 'node:fs/promises';
import { PmpoError } from '../core/errors.js';
import {
  decodeSafeHeader,
  emptyTensor,
  type SafeFile,
  type SafeTensor,
  safeHeaderBytes,
} from '../core/safetensors.js';
import { SealCheck } from '../core/safetensors-seal.js';
import { fileProblem } from './atomic-file.js';

export interface SafetensorsFile extends SafeFile {
  /** Whether the file has a checksum, which it then matches. */
  readonly hasChecksum: boolean;
}

/** The bytes that one read asks for: Linux gives at most 2 GiB. */
const readBytes = 2 ** 30;

/**
 * Reads a safetensors file in portions, each tensor into an array of its own: Node 20 has no byte arrays of more than 4 GiB.
 * @param checksum whether a checksum of ours in the metadata is checked; files of others may have an entry of that name.
 * @param portion the largest number of bytes that are read at once.
 * @throws PmpoError naming the file, if it cannot be read, is damaged or truncated, or is no safetensors file.
 */
export async function readSafetensorsFile(
  path: string,
  { checksum = true, portion = readBytes }: { readonly checksum?: boolean; readonly portion?: number } = {},
): Promise<SafetensorsFile> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw fileProblem(path, 'reading it', cause);
  });
  try {
    const { size } = await file.stat();
    const first = new Uint8Array(Math.min(8, size));
    await fill(file, first, 0, portion);
    const header = new Uint8Array(safeHeaderBytes(first, size, path));
    await fill(file, header, 0, portion);
    const { metadata, entries, start } = decodeSafeHeader(header, size, path);
    const check = checksum ? new SealCheck(header) : undefined;
    const tensors: Record<string, SafeTensor> = {};
    for (const entry of entries) {
      const tensor = emptyTensor(entry);
      const { buffer } = tensor.data;
      for (let at = 0; at < buffer.byteLength; at += portion) {
        const bytes = new Uint8Array(buffer, at, Math.min(portion, buffer.byteLength - at));
        await fill(file, bytes, start + entry.begin + at, portion);
        check?.add(bytes);
      }
      tensors[entry.name] = tensor;
    }
    if (check?.hasChecksum && !check.matches()) {
      throw new PmpoError({
        where: path,
        what: 'the file is damaged: its content does not have the checksum that it was saved with',
      });
    }
    return { tensors, metadata, hasChecksum: check?.hasChecksum ?? false };
  } catch (cause) {
    throw fileProblem(path, 'reading it', cause);
  } finally {
    await file.close();
  }
}

/** Fills an array from a file, from byte `start` on. */
async function fill(file: FileHandle, bytes: Uint8Array, start: number, portion: number): Promise<void> {
  for (let filled = 0; filled < bytes.length; ) {
    const length = Math.min(portion, bytes.length - filled);
    const { bytesRead } = await file.read(bytes, filled, length, start + filled);
    if (bytesRead === 0) throw new Error('it became shorter meanwhile');
    filled += bytesRead;
  }
}
