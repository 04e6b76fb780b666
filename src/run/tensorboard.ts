import { fileURLToPath } from 'node:url';
import crc32c from 'crc-32/crc32c.js';
import protobuf from 'protobufjs';
import { AppendFile } from '../system/append-file.js';

const protoFile = fileURLToPath(new URL('../../proto/tensorboard/event.proto', import.meta.url));
let eventType: protobuf.Type | undefined;

/** The masked CRC32C of the TFRecord format: rotated and offset, because CRCs of data that contains CRCs are weak. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c.buf(bytes) >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** A TFRecord: the length (8 bytes), its CRC, the data, and the CRC of the data. */
function encodeRecord(data: Uint8Array): Uint8Array {
  const record = Buffer.alloc(16 + data.length);
  record.writeBigUInt64LE(BigInt(data.length));
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return record;
}

type Event = { step?: number } & (
  | { fileVersion: string }
  | { summary: { value: { tag: string; simpleValue: number }[] } }
  | { sessionLog: { status: 'START' } }
);

/** Writes a TensorBoard event file of scalars. */
export class EventFile {
  readonly #file: AppendFile;

  /**
   * @param path its name must contain `tfevents`, by which TensorBoard finds it.
   * @param now milliseconds since 1970.
   * @param resumedAt the step from which the job resumes. TensorBoard then drops later steps of earlier files.
   */
  constructor(
    path: string,
    private readonly now: () => number,
    resumedAt?: number,
  ) {
    eventType ??= protobuf.loadSync(protoFile).lookupType('tensorboard.Event');
    this.#file = new AppendFile(path);
    if (this.#file.bytes > 0) return;
    this.#append({ fileVersion: 'brain.Event:2' });
    if (resumedAt !== undefined) this.#append({ step: resumedAt + 1, sessionLog: { status: 'START' } });
  }

  get bytes(): number {
    return this.#file.bytes;
  }

  #append(event: Event): void {
    const message = eventType!.fromObject({ wallTime: this.now() / 1000, ...event });
    this.#file.append(encodeRecord(eventType!.encode(message).finish()));
  }

  /** Adds scalars of one step. @throws PmpoError if the disk is full. */
  scalars(step: number, values: Readonly<Record<string, number>>): void {
    const value = Object.entries(values).map(([tag, simpleValue]) => ({ tag, simpleValue }));
    this.#append({ step, summary: { value } });
  }

  /** Waits until everything is on disk. */
  sync(): void {
    this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }
}
