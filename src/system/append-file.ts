import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { fileProblem } from './atomic-file.js';

/**
 * A file that grows by whole records. Each append reaches the operating system before it returns, so that a killed
 * process loses no record. Calls are synchronous because records are small, rare and must stay in order.
 */
export class AppendFile {
  readonly #descriptor: number;
  #bytes: number;

  /** Opens the file, and creates it if it is missing. @throws PmpoError that names the file if it cannot be opened. */
  constructor(readonly path: string) {
    try {
      this.#descriptor = openSync(path, 'a');
      this.#bytes = fstatSync(this.#descriptor).size;
    } catch (cause) {
      throw fileProblem(path, 'opening it', cause);
    }
  }

  /** The length of the file in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Appends one record. @throws PmpoError if that fails, for example on a full disk; the file then has no part of the record. */
  append(record: Uint8Array): void {
    let written = 0;
    try {
      while (written < record.length) written += writeSync(this.#descriptor, record, written);
    } catch (cause) {
      try {
        ftruncateSync(this.#descriptor, this.#bytes);
      } catch {}
      throw fileProblem(this.path, 'writing it', cause);
    }
    this.#bytes += record.length;
  }

  /** Returns when all records are on the disk. @throws PmpoError if the disk reports an error. */
  sync(): void {
    try {
      fsyncSync(this.#descriptor);
    } catch (cause) {
      throw fileProblem(this.path, 'writing it', cause);
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
