import { PmpoError } from '../errors.js';
import type { NamedSpecs, NamedTensorValues, TensorData, TensorSpec } from './environment.js';
import { emptyData, sizeOf } from './tensor-codec.js';

/**
 * Between an environment's named tensors and a learner's flat vectors. Letters: O observation size, A action dimensions.
 */

const at = (limit: number | readonly number[] | undefined, i: number): number =>
  typeof limit === 'number' ? limit : (limit?.[i] ?? Number.NaN);

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
  /** Names in the order in which they are laid out, each with its number of elements. */
  readonly parts: readonly { readonly name: string; readonly size: number }[];
  /** Writes an observation as float32 numbers into `out` from `offset` on. */
  write(observation: NamedTensorValues, out: Float32Array, offset: number): void;
}

/**
 * Lays named observations out one after the other, names in sorted order, row-major.
 * @throws PmpoError for text, packed messages, unknown lengths, or nothing at all.
 */
export function flattenObservations(specs: NamedSpecs): ObservationFlattener {
  const names = Object.keys(specs).sort();
  const parts = names.map((name) => ({ name, size: numericSize('observation', specs[name]) }));
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

const mostCounted = 2 ** 31 - 1;

/** How many values there are from `low` to `high`, no more than are counted; 0 for floating-point numbers. */
function countValues({ name, dtype }: TensorSpec, low: number, high: number): number {
  if (dtype === 'float32' || dtype === 'float64') return 0;
  const count = Math.floor(high) - Math.ceil(low) + 1;
  if (count > 0) return Math.min(mostCounted, count);
  throw new PmpoError({ where: `action '${name}'`, what: `no whole number lies between ${low} and ${high}` });
}

/**
 * Between canonical actions (−1 … 1 in each dimension) and the spec's units and bounds; integers are rounded.
 * @throws PmpoError for text, unknown lengths, or a dimension without two finite bounds.
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
      const [low, high] = spec.dtype === 'bool' ? [0, 1] : [at(spec.minimum, i), at(spec.maximum, i)];
      if (!Number.isFinite(low) || !Number.isFinite(high) || low > high) {
        throw new PmpoError({
          where: `action '${name}'`,
          what: `element ${i} is bounded by ${spec.minimum === undefined ? 'nothing' : low} and ${spec.maximum === undefined ? 'nothing' : high}`,
          remedy: 'A policy needs a finite minimum and maximum: have the server give them in its spec',
        });
      }
      minimum.push(low);
      maximum.push(high);
      values.push(countValues(spec, low, high));
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
