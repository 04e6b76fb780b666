import { createHash } from 'node:crypto';

/**
 * The checksum of a safetensors file: the SHA-256 of the whole file, in which the checksum itself counts as zeros. It is an entry of
 * the metadata, so that other programs still read the file.
 */

const key = 'sha256';
const zeros = '0'.repeat(64);
/** The start of the checksum's entry in the header. Nothing else in the header matches it, because quotes within texts are escaped. */
const entry = `"${key}":"`;

/** The entry of the metadata in which `seal` writes the checksum. */
export const sealOf = { [key]: zeros } as const;

/** Writes the checksum into the header, the first of the parts of an encoded file. @returns the parts. */
export function seal(parts: readonly Uint8Array[]): readonly Uint8Array[] {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  const header = Buffer.from(parts[0]!.buffer, parts[0]!.byteOffset, parts[0]!.byteLength);
  header.write(hash.digest('hex'), header.indexOf(entry) + entry.length, 'latin1');
  return parts;
}

/** Checks the checksum of a file that is read in parts. */
export class SealCheck {
  readonly #hash = createHash('sha256');
  /** The checksum in the header; undefined if there is none. */
  readonly #expected: string | undefined;

  /** @param header the file as far as its first tensor. */
  constructor(header: Uint8Array) {
    const bytes = Buffer.from(header);
    const start = bytes.indexOf(entry) + entry.length;
    const end = start + zeros.length;
    if (start < entry.length || end > bytes.length) return;
    this.#expected = bytes.toString('latin1', start, end);
    bytes.write(zeros, start, 'latin1');
    this.#hash.update(bytes);
  }

  /** Whether the file has a checksum. */
  get hasChecksum(): boolean {
    return this.#expected !== undefined;
  }

  /** Takes the next part of the file. */
  add(part: Uint8Array): void {
    if (this.hasChecksum) this.#hash.update(part);
  }

  /** Whether the file has the checksum that it was saved with. Call it once, after the last part. */
  matches(): boolean {
    return this.hasChecksum && this.#hash.digest('hex') === this.#expected;
  }
}
