import { createHash } from 'node:crypto';

/**
 * The checksum of a checkpoint: the SHA-256 of the whole file, in which the checksum itself counts as zeros. It is an entry of
 * the safetensors metadata, so that other programs still read the file.
 */

const key = 'sha256';
const zeros = '0'.repeat(64);
/** What begins the entry in the header. Elsewhere in it, quotes are escaped. */
const entry = `"${key}":"`;

/** The entry of the metadata in which `seal` writes the checksum. */
export const sealOf = { [key]: zeros } as const;

function hashOf(parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** Writes the checksum into the header, the first of the parts of an encoded file. @returns the parts. */
export function seal(parts: readonly Uint8Array[]): readonly Uint8Array[] {
  const header = Buffer.from(parts[0]!.buffer, parts[0]!.byteOffset, parts[0]!.byteLength);
  header.write(hashOf(parts), header.indexOf(entry) + entry.length, 'latin1');
  return parts;
}

/** Whether a file has the checksum that it was saved with. */
export function isSealed(bytes: Uint8Array): boolean {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerEnd = 8 + Number(file.readBigUInt64LE());
  const start = file.subarray(0, headerEnd).indexOf(entry) + entry.length;
  const end = start + zeros.length;
  if (start < entry.length || end > headerEnd) return false;
  const hash = hashOf([file.subarray(0, start), Buffer.from(zeros), file.subarray(end)]);
  return hash === file.toString('latin1', start, end);
}
