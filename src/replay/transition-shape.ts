/**
 * The form of transitions, and how their observations are stored: numbers that are bytes by their nature, such as the pixels of an
 * image, as bytes, and all others as float32. Shapes: O observation size, A action dimensions, F numbers of an observation that are
 * stored as float32, U that are stored as bytes.
 */

/** Consecutive numbers of an observation that are whole numbers from 0 to 255 after multiplication by `divisor`. */
export interface ByteRange {
  readonly start: number;
  readonly size: number;
  readonly divisor: number;
}

/** The sizes of a transition: O and A. */
export interface TransitionShape {
  readonly observationSize: number;
  readonly actionSize: number;
  /** In ascending order; default: none. */
  readonly byteRanges?: readonly ByteRange[];
}

interface Segment {
  readonly start: number;
  readonly end: number;
  /** 0: float32. */
  readonly divisor: number;
}

/** Splits observations into the numbers that are stored as float32 and those that are stored as bytes, and joins them again. */
export class ObservationPacking {
  /** F */
  readonly floats: number;
  /** U */
  readonly bytes: number;
  readonly #segments: readonly Segment[];

  constructor({ observationSize, byteRanges = [] }: TransitionShape) {
    const segments: Segment[] = [];
    let start = 0;
    for (const range of byteRanges) {
      if (range.start > start) segments.push({ start, end: range.start, divisor: 0 });
      start = range.start + range.size;
      segments.push({ start: range.start, end: start, divisor: range.divisor });
    }
    if (observationSize > start) segments.push({ start, end: observationSize, divisor: 0 });
    this.#segments = segments;
    this.bytes = byteRanges.reduce((sum, { size }) => sum + size, 0);
    this.floats = observationSize - this.bytes;
  }

  /** Writes an observation, [O], as F float32 numbers and U bytes. */
  pack(
    observation: Float32Array,
    floats: Float32Array,
    floatsAt: number,
    bytes: Uint8Array,
    bytesAt: number,
  ): void {
    let [float, byte] = [floatsAt, bytesAt];
    for (const { start, end, divisor } of this.#segments) {
      if (divisor === 0) for (let i = start; i < end; i++) floats[float++] = observation[i];
      else for (let i = start; i < end; i++) bytes[byte++] = Math.round(observation[i] * divisor);
    }
  }

  /** Restores what `pack` has written, bit for bit. */
  unpack(
    floats: Float32Array,
    floatsAt: number,
    bytes: Uint8Array,
    bytesAt: number,
    observation: Float32Array,
    at: number,
  ): void {
    let [float, byte] = [floatsAt, bytesAt];
    for (const { start, end, divisor } of this.#segments) {
      if (divisor === 0) for (let i = start; i < end; i++) observation[at + i] = floats[float++];
      else for (let i = start; i < end; i++) observation[at + i] = bytes[byte++] / divisor;
    }
  }
}

/** The bytes that a transition takes: two observations, the action, the return and the discount. */
export function bytesPerTransition(shape: TransitionShape): number {
  const { floats, bytes } = new ObservationPacking(shape);
  return 2 * (4 * floats + bytes) + 4 * (shape.actionSize + 2);
}
