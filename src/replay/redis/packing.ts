import { PmpoError } from '../../core/errors.js';
import type { TransitionSink } from '../n-step.js';
import { bytesPerTransition, ObservationPacking, type TransitionShape } from '../transition-shape.js';

/**
 * Transitions as bytes. A chunk of C transitions is C rows of little-endian float32 values, then C rows of bytes, the same that a
 * TransitionStore keeps: [observation F, action A, n-step return, discount, next observation F], and [observation U, next
 * observation U]. F and U are explained in ../transition-shape.ts.
 */

/** Number of float32 values in one row. */
function rowWidth({ actionSize }: TransitionShape, { floats }: ObservationPacking): number {
  return 2 * floats + actionSize + 2;
}

/** Collects transitions for a chunk. */
export class ChunkBuilder {
  readonly #shape: TransitionShape;
  readonly #packing: ObservationPacking;
  readonly #width: number;
  readonly #floats: Float32Array;
  readonly #bytes: Uint8Array;
  #count = 0;

  /** @param capacity largest number of rows. */
  constructor(
    shape: TransitionShape,
    readonly capacity: number,
  ) {
    this.#shape = shape;
    this.#packing = new ObservationPacking(shape);
    this.#width = rowWidth(shape, this.#packing);
    this.#floats = new Float32Array(capacity * this.#width);
    this.#bytes = new Uint8Array(capacity * 2 * this.#packing.bytes);
  }

  get count(): number {
    return this.#count;
  }

  /** Adds one transition; the arrays are copied. @throws RangeError when it is full. */
  add(...[observation, action, nStepReturn, discount, nextObservation]: Parameters<TransitionSink>): void {
    if (this.#count === this.capacity) throw new RangeError(`a chunk holds ${this.capacity} transitions`);
    const { actionSize: a } = this.#shape;
    const { floats: f, bytes: u } = this.#packing;
    const start = this.#count * this.#width;
    const bytesAt = this.#count * 2 * u;
    this.#packing.pack(observation, this.#floats, start, this.#bytes, bytesAt);
    this.#floats.set(action, start + f);
    this.#floats[start + f + a] = nStepReturn;
    this.#floats[start + f + a + 1] = discount;
    this.#packing.pack(nextObservation, this.#floats, start + f + a + 2, this.#bytes, bytesAt + u);
    this.#count += 1;
  }

  /** Returns the bytes of all rows and starts over. */
  take(): Buffer {
    const count = this.#count;
    this.#count = 0;
    return Buffer.concat([
      Buffer.from(this.#floats.buffer, 0, count * this.#width * 4),
      this.#bytes.subarray(0, count * 2 * this.#packing.bytes),
    ]);
  }

  /** Discards all rows. */
  clear(): void {
    this.#count = 0;
  }
}

/**
 * Passes each transition of a chunk to a sink, in order.
 * @throws PmpoError when the bytes are not `count` rows of this shape.
 */
export function unpackChunk(
  bytes: Uint8Array,
  count: number,
  shape: TransitionShape,
  sink: TransitionSink,
): void {
  const needed = count * bytesPerTransition(shape);
  if (!Number.isSafeInteger(count) || count < 0 || bytes.length !== needed) {
    throw new PmpoError({
      where: 'replay.redis',
      what: `a chunk of ${count} transitions has ${bytes.length} bytes, but ${needed} are needed`,
      remedy: 'Use the same version of pmpo and the same configuration for learner and actors',
    });
  }
  const packing = new ObservationPacking(shape);
  const { observationSize: o, actionSize: a } = shape;
  const { floats: f, bytes: u } = packing;
  const width = rowWidth(shape, packing);
  // Copied, because bytes from a socket may start at any address and float32 values must be aligned.
  const { buffer } = Uint8Array.from(bytes);
  const rows = new Float32Array(buffer, 0, count * width);
  const byteRows = new Uint8Array(buffer, count * width * 4);
  const observation = new Float32Array(o);
  const nextObservation = new Float32Array(o);
  for (let i = 0; i < count; i++) {
    const start = i * width;
    packing.unpack(rows, start, byteRows, i * 2 * u, observation, 0);
    packing.unpack(rows, start + f + a + 2, byteRows, i * 2 * u + u, nextObservation, 0);
    sink(
      observation,
      rows.subarray(start + f, start + f + a),
      rows[start + f + a],
      rows[start + f + a + 1],
      nextObservation,
    );
  }
}
