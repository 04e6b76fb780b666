import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { fileProblem } from './atomic-file.js';

/**
 * A file that grows by whole records. Each append reaches the operating system before it returns, so that a killed
 * process loses nothing; calls are synchronous because records are small, rare and must stay in order.
 */
export class AppendFile {
  readonly #descriptor: number;
  #bytes: number;

  /** Opens the file, made when missing. @throws PmpoError naming the file when it cannot be opened. */
  constructor(readonly path: string) {
    try {
      this.#descriptor = openSync(path, 'a');
      this.#bytes = fstatSync(this.#descriptor).size;
    } catch (cause) {
      throw fileProblem(path, 'opening it', cause);
    }
  }

  /** The file's length. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds one record. @throws PmpoError when the disk is full; then no part of the record stays in the file. */
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

  /** Waits until everything is on the disk. */
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
