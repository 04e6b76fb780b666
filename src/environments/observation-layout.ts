import { PmpoError } from '../core/errors.js';
import type { DType, NamedSpecs, NamedTensorValues, TensorSpec } from './environment.js';
import { boundAt, numericSpec } from './spec-checks.js';

/**
 * Named observations as one vector for a learner. Shapes: O observation size.
 */

/** The values of one element of an integer observation with bounds: the smallest, and how many there are. */
interface Categories {
  readonly minimum: number;
  readonly values: number;
}

/** How one named observation enters the vector. */
export interface ObservationPart {
  readonly name: string;
  /** The shape of the tensor. */
  readonly shape: readonly number[];
  /** Numbers in the vector. */
  readonly size: number;
  /** What its numbers are divided by: 255 for images, otherwise 1. */
  readonly divisor: number;
  /** For a one-hot code: the smallest value and the number of values of each element. */
  readonly categories?: readonly Categories[];
  /** For integers with bounds that enter as numbers: the same; they are checked, too. */
  readonly bounds?: readonly Categories[];
  /** Whether all of its numbers, times `divisor`, are whole and from 0 to 255. */
  readonly isBytes: boolean;
}

/** Consecutive numbers of a vector that are whole numbers from 0 to 255 after multiplication by `divisor`. */
export interface ByteRange {
  readonly start: number;
  readonly size: number;
  readonly divisor: number;
}

/** Writes observations into vectors; made by `flattenObservations`. */
export interface ObservationFlattener {
  /** O */
  readonly size: number;
  /** The observations in the order of the vector. */
  readonly parts: readonly ObservationPart[];
  /** Where the vector holds bytes, in ascending order. */
  readonly byteRanges: readonly ByteRange[];
  /** Observations that look like categories and are not encoded as such, in sentences for people. */
  readonly notes: readonly string[];
  /** Writes an observation as O float32 numbers into `out`, starting at `offset`. An integer outside of its bounds becomes NaN. */
  write(observation: NamedTensorValues, out: Float32Array, offset: number): void;
  /** The name and the value of the element of an observation that is number `index` of its vector, for messages. */
  describe(observation: NamedTensorValues, index: number): string;
  /** The same if float32 moves the element to a number that is more than rounding away; otherwise undefined. */
  rounding(observation: NamedTensorValues, index: number): string | undefined;
}

/** How `flattenObservations` lays out observations. */
export interface FlattenOptions {
  /** Whether integers with bounds enter as one-hot codes. Default: true. */
  readonly oneHot?: boolean;
}

/** The largest number of values in the one-hot code of one observation. */
const maxOneHot = 4096;

/** The bounds that an integer dtype has by itself: as those of a spec, they say nothing. */
const ownBounds: { readonly [D in DType]?: readonly [number, number] } = {
  int8: [-128, 127],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [-(2 ** 63), 2 ** 63],
  uint8: [0, 255],
  uint32: [0, 2 ** 32 - 1],
  uint64: [0, 2 ** 64],
};

/** Whether a tensor holds bytes that range from 0 to 255, as images do. Absent bounds are those of the dtype. */
function isImageLike({ dtype, shape, minimum = 0, maximum = 255 }: TensorSpec): boolean {
  const all = (bound: number | readonly number[], value: number) =>
    typeof bound === 'number' ? bound === value : bound.every((own) => own === value);
  return dtype === 'uint8' && shape.length > 0 && all(minimum, 0) && all(maximum, 255);
}

/** The categories of each element of an integer observation; undefined if its elements are not categories. */
function categoriesOf({ dtype, minimum, maximum }: TensorSpec, size: number) {
  const own = ownBounds[dtype];
  if (own === undefined || minimum === undefined || maximum === undefined) return undefined;
  const elements = Array.from({ length: size }, (_, i) => {
    const [low, high] = [boundAt(minimum, i) ?? Number.NaN, boundAt(maximum, i) ?? Number.NaN];
    return { minimum: low, values: high - low + 1, isOwn: low <= own[0] && high >= own[1] };
  });
  const areBounds = elements.every(
    ({ minimum: low, values, isOwn }) =>
      Number.isSafeInteger(low) && Number.isSafeInteger(low + values - 1) && values >= 1 && !isOwn,
  );
  if (!areBounds) return undefined;
  return elements.map(({ minimum: low, values }) => ({ minimum: low, values }));
}

function partOf(
  spec: TensorSpec,
  oneHot: boolean,
): { readonly part: ObservationPart; readonly note?: string } {
  const { name, shape, size, dtype } = numericSpec('observation', spec);
  const isImage = isImageLike(spec);
  const numbers: ObservationPart = {
    name,
    shape,
    size,
    divisor: isImage ? 255 : 1,
    isBytes: dtype === 'uint8' || dtype === 'bool',
  };
  const categories = oneHot && !isImage ? categoriesOf(spec, size) : undefined;
  if (categories === undefined) return { part: numbers };
  // A number that takes two values tells as much as their one-hot code.
  if (categories.every(({ values }) => values <= 2)) return { part: { ...numbers, bounds: categories } };
  const codeSize = categories.reduce((sum, { values }) => sum + values, 0);
  if (codeSize > maxOneHot) {
    const note = `observation '${name}': a one-hot code of its ${codeSize} values would be too long (at most ${maxOneHot}), so that it enters the policy as ${size === 1 ? 'a number' : 'numbers'}`;
    return { part: { ...numbers, bounds: categories }, note };
  }
  return { part: { name, shape, size: codeSize, divisor: 1, categories, isBytes: true } };
}

/** The ranges of bytes in a vector of these parts; neighbours with the same divisor are one range. */
function byteRangesOf(parts: readonly ObservationPart[]): ByteRange[] {
  const ranges: ByteRange[] = [];
  let start = 0;
  for (const { size, divisor, isBytes } of parts) {
    const last = ranges.at(-1);
    if (isBytes && last !== undefined && last.start + last.size === start && last.divisor === divisor) {
      ranges[ranges.length - 1] = { ...last, size: last.size + size };
    } else if (isBytes) ranges.push({ start, size, divisor });
    start += size;
  }
  return ranges;
}

/** The part of a vector that holds its number `index`, and the element of the tensor that the number comes from. */
function elementAt(
  parts: readonly ObservationPart[],
  index: number,
): { readonly part: ObservationPart; readonly element: number } {
  let start = 0;
  const part = parts.find(({ size }) => {
    start += size;
    return index < start;
  })!;
  start -= part.size;
  if (part.categories === undefined) return { part, element: index - start };
  let element = 0;
  let end = start + part.categories[0].values;
  while (index >= end) end += part.categories[++element].values;
  return { part, element };
}

/** Beyond this, neighbouring float32 numbers are more than 1 apart. */
const exactUpTo = 2 ** 24;

/** Whether `value` is one of the categories. */
function isWithin(value: number, { minimum, values }: Categories): boolean {
  return value >= minimum && value < minimum + values;
}

/** Writes the one-hot code of each element; NaN for a value that is none of the categories. */
function writeOneHot(
  data: ArrayLike<number | bigint>,
  categories: readonly Categories[],
  out: Float32Array,
  at: number,
): void {
  let start = at;
  for (const [i, own] of categories.entries()) {
    const value = Number(data[i]);
    const end = start + own.values;
    out.fill(isWithin(value, own) ? 0 : Number.NaN, start, end);
    if (isWithin(value, own)) out[start + value - own.minimum] = 1;
    start = end;
  }
}

/**
 * Lays out named observations one after the other, sorted by name, each in row-major order. Numbers keep their values, except that
 * `uint8` tensors with bounds 0 and 255 (images) are scaled to 0 … 1, and that each element of an integer tensor with a minimum and
 * a maximum (a category, such as Gymnasium's `Discrete`) becomes a one-hot code if it has more than two values.
 * @throws PmpoError for strings, packed messages, axes of any length, or no observations at all.
 */
export function flattenObservations(
  specs: NamedSpecs,
  { oneHot = true }: FlattenOptions = {},
): ObservationFlattener {
  const found = Object.keys(specs)
    .sort()
    .map((name) => partOf(specs[name], oneHot));
  const parts = found.map(({ part }) => part);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (size === 0) throw new PmpoError({ where: 'observations', what: 'the environment has no observations' });
  return {
    size,
    parts,
    byteRanges: byteRangesOf(parts),
    notes: found.flatMap(({ note }) => note ?? []),
    write(observation, out, offset) {
      let position = offset;
      for (const part of parts) {
        const { data, dtype } = observation[part.name];
        if (part.categories !== undefined) {
          writeOneHot(data as ArrayLike<number | bigint>, part.categories, out, position);
        } else if (dtype === 'int64' || dtype === 'uint64') {
          const wide = data as BigInt64Array;
          for (let i = 0; i < part.size; i++) out[position + i] = Number(wide[i]);
        } else if (part.divisor !== 1) {
          const numbers = data as Uint8Array;
          for (let i = 0; i < part.size; i++) out[position + i] = numbers[i] / part.divisor;
        } else out.set(data as Float32Array, position);
        for (const [i, own] of part.bounds?.entries() ?? []) {
          if (!isWithin(Number(data[i]), own)) out[position + i] = Number.NaN;
        }
        position += part.size;
      }
    },
    describe(observation, index) {
      const { part, element } = elementAt(parts, index);
      const value = observation[part.name].data[element];
      const category = (part.categories ?? part.bounds)?.[element];
      const why =
        category !== undefined
          ? `, outside of its bounds ${category.minimum} and ${category.minimum + category.values - 1}`
          : Number.isFinite(value)
            ? ', which is beyond the range of float32'
            : '';
      return `observation '${part.name}'[${element}] is ${value}${why}`;
    },
    rounding(observation, index) {
      const { part, element } = elementAt(parts, index);
      const value = observation[part.name].data[element];
      const read = Math.fround(Number(value));
      const isMoved = typeof value === 'bigint' ? BigInt(read) !== value : read !== value;
      if (part.categories !== undefined || Math.abs(read) < exactUpTo || !isMoved) return undefined;
      return `observation '${part.name}'[${element}] is ${value}, which a policy reads as ${read}`;
    },
  };
}
