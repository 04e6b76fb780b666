import { PmpoError } from '../core/errors.js';
import { sizeOf } from '../core/shape.js';
import {
  emptyData,
  type NamedSpecs,
  type NamedTensorValues,
  type TensorData,
  type TensorSpec,
} from './environment.js';

/**
 * Between an environment's named tensors and a learner's flat vectors. Letters: O observation size, A action dimensions.
 */

const at = (limit: number | readonly number[] | undefined, i: number): number =>
  typeof limit === 'number' ? limit : (limit?.[i] ?? Number.NaN);

/** Whether a tensor holds bytes that use their whole range, as images do. Where no bounds are given, the dtype's count. */
function isImageLike({ dtype, shape, minimum = 0, maximum = 255 }: TensorSpec): boolean {
  const all = (limit: number | readonly number[], value: number) =>
    typeof limit === 'number' ? limit === value : limit.every((own) => own === value);
  return dtype === 'uint8' && shape.length > 0 && all(minimum, 0) && all(maximum, 255);
}

function numericSize(kind: string, { name, dtype, shape }: TensorSpec): number {
  const where = `${kind} '${name}'`;
  if (dtype === 'string' || dtype === 'proto') {
    throw new PmpoError({
      where,
      what: `its dtype is ${dtype}; a policy takes numbers`,
      remedy: 'Leave it out',
    });
  }
  if (shape.some((n) => n < 0)) {
    throw new PmpoError({ where, what: `its shape [${shape}] is of no fixed size; a policy needs one` });
  }
  return sizeOf(shape);
}

export interface ObservationFlattener {
  /** O */
  readonly size: number;
  /**
   * Names in the order in which they are laid out, each with its number of elements and what its numbers are divided by:
   * 255 for images, else 1.
   */
  readonly parts: readonly { readonly name: string; readonly size: number; readonly divisor: number }[];
  /** Writes an observation as float32 numbers into `out` from `offset` on. */
  write(observation: NamedTensorValues, out: Float32Array, offset: number): void;
}

/**
 * Lays named observations out one after the other, names in sorted order, row-major. Numbers stay as they are but for
 * `uint8` tensors that range from 0 to 255, as images do: those are scaled to 0 … 1, which is what networks begin from.
 * @throws PmpoError for text, packed messages, unknown lengths, or nothing at all.
 */
export function flattenObservations(specs: NamedSpecs): ObservationFlattener {
  const names = Object.keys(specs).sort();
  const parts = names.map((name) => ({
    name,
    size: numericSize('observation', specs[name]),
    divisor: isImageLike(specs[name]) ? 255 : 1,
  }));
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (size === 0) throw new PmpoError({ where: 'observations', what: 'there is nothing to observe' });
  return {
    size,
    parts,
    write(observation, out, offset) {
      let position = offset;
      for (const part of parts) {
        const { data, dtype } = observation[part.name];
        if (dtype === 'int64' || dtype === 'uint64') {
          const wide = data as BigInt64Array;
          for (let i = 0; i < part.size; i++) out[position + i] = Number(wide[i]);
        } else if (part.divisor !== 1) {
          const numbers = data as Uint8Array;
          for (let i = 0; i < part.size; i++) out[position + i] = numbers[i] / part.divisor;
        } else out.set(data as Float32Array, position);
        position += part.size;
      }
    },
  };
}

export interface ActionScaler {
  /** A */
  readonly size: number;
  /** What −1 stands for in each dimension, [A]. */
  readonly minimum: Float32Array;
  /** What 1 stands for, [A]. */
  readonly maximum: Float32Array;
  /** How many values each dimension takes, 0 for a continuous one, [A]. */
  readonly values: Int32Array;
  /** The action whose canonical form is `canonical[offset … offset + A]`, clipped to the bounds. */
  read(canonical: Float32Array, offset: number): NamedTensorValues;
}

/** Beyond this a choice is no choice but a number: a head with a place for each value would be larger than its network. */
const mostValues = 4096;

interface Range {
  readonly low: number;
  readonly high: number;
  /** How many values there are, 0 for a continuous range. */
  readonly values: number;
}

/** What element `i` of an action may be. */
function rangeOf(spec: TensorSpec, i: number): Range {
  const where = `action '${spec.name}'`;
  const [low, high] = spec.dtype === 'bool' ? [0, 1] : [at(spec.minimum, i), at(spec.maximum, i)];
  if (!Number.isFinite(low) || !Number.isFinite(high) || low > high) {
    throw new PmpoError({
      where,
      what: `element ${i} is bounded by ${spec.minimum === undefined ? 'nothing' : low} and ${spec.maximum === undefined ? 'nothing' : high}`,
      remedy: 'A policy needs a finite minimum and maximum: have the server give them in its spec',
    });
  }
  if (spec.dtype === 'float32' || spec.dtype === 'float64') return { low, high, values: 0 };
  const whole = { low: Math.ceil(low), high: Math.floor(high) };
  const values = whole.high - whole.low + 1;
  if (values < 1) {
    throw new PmpoError({
      where,
      what: `no whole number lies within the bounds of element ${i}, ${low} and ${high}`,
      remedy: 'Have the server give bounds with a whole number between them',
    });
  }
  if (values > mostValues) {
    throw new PmpoError({
      where,
      what: `element ${i} takes ${values} values; a policy chooses among ${mostValues} at most`,
      remedy: 'Have the server offer it as a floating-point action, or with fewer values',
    });
  }
  return { ...whole, values };
}

/**
 * Between canonical actions (−1 … 1 in each dimension) and the spec's units and bounds; integers are rounded: value i of n
 * is −1 + 2i / (n − 1).
 * @throws PmpoError for text, unknown lengths, a dimension without two finite bounds, or one of too many integers.
 */
export function scaleActions(specs: NamedSpecs): ActionScaler {
  const names = Object.keys(specs).sort();
  const minimum: number[] = [];
  const maximum: number[] = [];
  const values: number[] = [];
  const parts = names.map((name) => {
    const spec = specs[name];
    const size = numericSize('action', spec);
    for (let i = 0; i < size; i++) {
      const { low, high, values: count } = rangeOf(spec, i);
      minimum.push(low);
      maximum.push(high);
      values.push(count);
    }
    return { name, spec, size };
  });
  if (minimum.length === 0) throw new PmpoError({ where: 'actions', what: 'there is nothing to act with' });
  return {
    size: minimum.length,
    minimum: Float32Array.from(minimum),
    maximum: Float32Array.from(maximum),
    values: Int32Array.from(values),
    read(canonical, offset) {
      let dimension = 0;
      const action: Record<string, NamedTensorValues[string]> = {};
      for (const { name, spec, size } of parts) {
        const data = emptyData(spec.dtype, size) as unknown as (number | bigint)[];
        for (let i = 0; i < size; i++, dimension++) {
          const unit = Math.min(1, Math.max(-1, canonical[offset + dimension]));
          const [low, high] = [minimum[dimension], maximum[dimension]];
          // Written so that −1 and 1 give the bounds themselves, whatever rounding does.
          const value = unit === 1 ? high : low + ((unit + 1) / 2) * (high - low);
          if (spec.dtype === 'float32' || spec.dtype === 'float64') data[i] = value;
          else {
            const whole = Math.round(value);
            data[i] = spec.dtype === 'int64' || spec.dtype === 'uint64' ? BigInt(whole) : whole;
          }
        }
        action[name] = { dtype: spec.dtype, shape: spec.shape, data: data as unknown as TensorData };
      }
      return action;
    },
  };
}
