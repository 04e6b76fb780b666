import { PmpoError } from '../core/errors.js';
import { sizeOf } from '../core/shape.js';
import type { NamedSpecs, NamedTensorValues, TensorSpec, TensorValue } from './environment.js';
import { isNumeric, numericData } from './tensor-data.js';

/**
 * Conversions between an environment's named tensors and a learner's flat vectors.
 * Shapes: O observation size, A action dimensions.
 */

/** The largest number of values in one dimension of a discrete action: a policy's head has an output for each. */
const maxValues = 4096;

/** Whether a tensor holds bytes that range from 0 to 255, as images do. Absent bounds are those of the dtype. */
function isImageLike({ dtype, shape, minimum = 0, maximum = 255 }: TensorSpec): boolean {
  const all = (bound: number | readonly number[], value: number) =>
    typeof bound === 'number' ? bound === value : bound.every((own) => own === value);
  return dtype === 'uint8' && shape.length > 0 && all(minimum, 0) && all(maximum, 255);
}

/** A numeric spec of a fixed size. @throws PmpoError for any other. */
function numericSpec(kind: string, { name, dtype, shape, ...bounds }: TensorSpec) {
  const where = `${kind} '${name}'`;
  if (!isNumeric(dtype)) {
    throw new PmpoError({
      where,
      what: `its dtype is ${dtype}, and a policy needs numbers`,
      remedy:
        kind === 'observation'
          ? 'Leave it out of the observations'
          : 'Change the server so that it sends numbers',
    });
  }
  if (shape.some((n) => n < 0)) {
    throw new PmpoError({
      where,
      what: `its shape [${shape}] is not fixed, and a policy needs a fixed size`,
    });
  }
  return { name, dtype, shape, size: sizeOf(shape), ...bounds };
}

/** Writes observations into vectors; made by `flattenObservations`. */
export interface ObservationFlattener {
  /** O */
  readonly size: number;
  /** The observations in the order of the vector: name, number of elements, and divisor (255 for images, otherwise 1). */
  readonly parts: readonly { readonly name: string; readonly size: number; readonly divisor: number }[];
  /** Writes an observation as O float32 numbers into `out`, starting at `offset`. */
  write(observation: NamedTensorValues, out: Float32Array, offset: number): void;
  /** The name and the value of the element of an observation that is number `index` of its vector, for messages. */
  describe(observation: NamedTensorValues, index: number): string;
}

/**
 * Lays out named observations one after the other, sorted by name, each in row-major order. Numbers keep their values, except
 * that `uint8` tensors with bounds 0 and 255 (images) are scaled to 0 … 1, as networks expect.
 * @throws PmpoError for strings, packed messages, axes of any length, or no observations at all.
 */
export function flattenObservations(specs: NamedSpecs): ObservationFlattener {
  const parts = Object.keys(specs)
    .sort()
    .map((name) => ({
      name,
      size: numericSpec('observation', specs[name]).size,
      divisor: isImageLike(specs[name]) ? 255 : 1,
    }));
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (size === 0) throw new PmpoError({ where: 'observations', what: 'the environment has no observations' });
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
    describe(observation, index) {
      let start = 0;
      const part = parts.find(({ size: width }) => {
        start += width;
        return index < start;
      })!;
      const element = index - (start - part.size);
      const value = observation[part.name].data[element];
      const beyond = Number.isFinite(value) ? ', which is beyond the range of float32' : '';
      return `observation '${part.name}'[${element}] is ${value}${beyond}`;
    },
  };
}

/** Reads actions from vectors; made by `scaleActions`. */
export interface ActionScaler {
  /** A */
  readonly size: number;
  /** The action that canonical −1 means in each dimension, [A]. */
  readonly minimum: Float32Array;
  /** The action that canonical 1 means in each dimension, [A]. */
  readonly maximum: Float32Array;
  /** The number of values in each dimension, 0 for a continuous one, [A]. */
  readonly values: Int32Array;
  /** The action for `canonical[offset … offset + A − 1]`, clipped to the bounds. */
  read(canonical: Float32Array, offset: number): NamedTensorValues;
}

interface Range {
  readonly low: number;
  readonly high: number;
  /** The number of values, 0 for a continuous range. */
  readonly values: number;
}

const boundAt = (bound: number | readonly number[] | undefined, i: number): number =>
  typeof bound === 'number' ? bound : (bound?.[i] ?? Number.NaN);

const isFloat = (dtype: TensorSpec['dtype']) => dtype === 'float32' || dtype === 'float64';

/** The range of element `i` of an action. */
function rangeOf({ name, dtype, minimum, maximum }: TensorSpec, i: number): Range {
  const where = `action '${name}'`;
  const [low, high] = dtype === 'bool' ? [0, 1] : [boundAt(minimum, i), boundAt(maximum, i)];
  if (!Number.isFinite(low) || !Number.isFinite(high) || low > high) {
    throw new PmpoError({
      where,
      what: `element ${i} has the minimum ${minimum === undefined ? '(none)' : low} and the maximum ${maximum === undefined ? '(none)' : high}`,
      remedy: 'A policy needs a finite minimum and maximum: have the server give them in its spec',
    });
  }
  if (isFloat(dtype)) return { low, high, values: 0 };
  const whole = { low: Math.ceil(low), high: Math.floor(high) };
  const values = whole.high - whole.low + 1;
  if (values < 1) {
    throw new PmpoError({
      where,
      what: `the bounds of element ${i}, ${low} and ${high}, have no integer between them`,
      remedy: 'Change the server so that an integer lies between the bounds',
    });
  }
  if (values > maxValues) {
    throw new PmpoError({
      where,
      what: `element ${i} has ${values} values, and a policy chooses among ${maxValues} at most`,
      remedy: 'Change the server so that it offers a floating-point action or fewer values',
    });
  }
  return { ...whole, values };
}

/**
 * Maps canonical actions, −1 … 1 in each dimension, to actions in the units and bounds of their specs, sorted by name.
 * Integers are rounded: value i of n is the canonical −1 + 2i / (n − 1).
 * @throws PmpoError for strings, axes of any length, a dimension without two finite bounds or with more than 4,096 integers,
 *   or no actions at all.
 */
export function scaleActions(specs: NamedSpecs): ActionScaler {
  const parts = Object.keys(specs)
    .sort()
    .map((name) => numericSpec('action', specs[name]));
  const ranges = parts.flatMap((spec) => Array.from({ length: spec.size }, (_, i) => rangeOf(spec, i)));
  if (ranges.length === 0) throw new PmpoError({ where: 'actions', what: 'the environment has no actions' });
  return {
    size: ranges.length,
    minimum: Float32Array.from(ranges, ({ low }) => low),
    maximum: Float32Array.from(ranges, ({ high }) => high),
    values: Int32Array.from(ranges, ({ values }) => values),
    read(canonical, offset) {
      let dimension = 0;
      const action: Record<string, TensorValue> = {};
      for (const { name, dtype, shape, size } of parts) {
        const start = dimension;
        const data = numericData(dtype, size, (i) => {
          const unit = Math.min(1, Math.max(-1, canonical[offset + start + i]));
          const { low, high } = ranges[start + i];
          // Written so that −1 and 1 give the bounds themselves, whatever rounding does.
          const value = unit === 1 ? high : low + ((unit + 1) / 2) * (high - low);
          return isFloat(dtype) ? value : Math.round(value);
        });
        dimension += size;
        action[name] = { dtype, shape, data };
      }
      return action;
    },
  };
}
