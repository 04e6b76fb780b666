import { PmpoError } from '../../core/errors.js';
import type { TransitionSink } from '../n-step.js';

/**
 * Transitions as bytes. One transition is one row of little-endian float32 values, the same that a TransitionStore keeps:
 * observation [O], action [A], n-step return, discount, next observation [O]. A chunk is C rows.
 */

/** The sizes of a transition: O and A. */
export interface TransitionShape {
  readonly observationSize: number;
  readonly actionSize: number;
}

/** Number of values in one row. */
export function rowWidth({ observationSize, actionSize }: TransitionShape): number {
  return 2 * observationSize + actionSize + 2;
}

/** Collects transitions for a chunk. */
export class ChunkBuilder {
  readonly #shape: TransitionShape;
  readonly #rows: Float32Array;
  #count = 0;

  /** @param capacity largest number of rows. */
  constructor(
    shape: TransitionShape,
    readonly capacity: number,
  ) {
    this.#shape = shape;
    this.#rows = new Float32Array(capacity * rowWidth(shape));
  }

  get count(): number {
    return this.#count;
  }

  /** Adds one transition; the arrays are copied. @throws RangeError when it is full. */
  add(...[observation, action, nStepReturn, discount, nextObservation]: Parameters<TransitionSink>): void {
    if (this.#count === this.capacity) throw new RangeError(`a chunk holds ${this.capacity} transitions`);
    const { observationSize: o, actionSize: a } = this.#shape;
    const start = this.#count * rowWidth(this.#shape);
    this.#rows.set(observation, start);
    this.#rows.set(action, start + o);
    this.#rows[start + o + a] = nStepReturn;
    this.#rows[start + o + a + 1] = discount;
    this.#rows.set(nextObservation, start + o + a + 2);
    this.#count += 1;
  }

  /** Returns the bytes of all rows and starts over. */
  take(): Buffer {
    const bytes = this.#count * rowWidth(this.#shape) * 4;
    this.#count = 0;
    return Buffer.from(Buffer.from(this.#rows.buffer, 0, bytes));
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
  const width = rowWidth(shape);
  if (!Number.isSafeInteger(count) || count < 0 || bytes.length !== count * width * 4) {
    throw new PmpoError({
      where: 'replay.redis',
      what: `a chunk of ${count} transitions has ${bytes.length} bytes, but ${count * width * 4} are needed`,
      remedy: 'Use the same version of pmpo and the same configuration for learner and actors',
    });
  }
  // Copied, because bytes from a socket may start at any address and float32 values must be aligned.
  const rows = new Float32Array(Uint8Array.from(bytes).buffer);
  const { observationSize: o, actionSize: a } = shape;
  for (let start = 0; start < rows.length; start += width) {
    sink(
      rows.subarray(start, start + o),
      rows.subarray(start + o, start + o + a),
      rows[start + o + a],
      rows[start + o + a + 1],
      rows.subarray(start + o + a + 2, start + width),
    );
  }
}
