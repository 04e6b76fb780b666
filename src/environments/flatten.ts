import { PmpoError } from '../core/errors.js';
import type { NamedSpecs, NamedTensorValues, TensorSpec, TensorValue } from './environment.js';
import { boundAt, numericSpec } from './spec-checks.js';
import { numericData } from './tensor-data.js';

/**
 * Actions between a learner's flat vectors and an environment's named tensors; observation-layout.ts is for observations.
 * Shapes: A action dimensions.
 */

/** The largest number of values in one dimension of a discrete action: a policy's head has an output for each. */
const maxValues = 4096;

/** One named action in the vector: its numbers in row-major order. */
export interface ActionPart {
  readonly name: string;
  readonly shape: readonly number[];
  readonly size: number;
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
  /** The actions in the order of the vector. */
  readonly parts: readonly ActionPart[];
  /** The action for `canonical[offset … offset + A − 1]`, clipped to the bounds. */
  read(canonical: Float32Array, offset: number): NamedTensorValues;
}

interface Range {
  readonly low: number;
  readonly high: number;
  /** The number of values, 0 for a continuous range. */
  readonly values: number;
}

const isFloat = (dtype: TensorSpec['dtype']) => dtype === 'float32' || dtype === 'float64';

/** How `scaleActions` treats actions whose specs leave something open. */
export interface ScaleOptions {
  /** The minimum and the maximum of the elements of floating-point actions that have no usable bounds of their own. */
  readonly bounds?: readonly [number, number];
  /** What to do about a missing bound, for the message. Default: about the server's spec and environment.actionBounds. */
  readonly boundsRemedy?: string;
}

/**
 * Bounds beyond this are as good as none: neighbouring float32 numbers are more than 1 apart there, so that not even integers could be
 * told apart, and simulators write such numbers (1e10, 3.4e38, 2³¹ − 1) for an action without bounds.
 */
const largestBound = 2 ** 24;

const isUsable = (bound: number | undefined) => bound !== undefined && Math.abs(bound) <= largestBound;

/** Whether every element of an action has two bounds of its own that a policy can use: finite ones of at most 2²⁴. */
export const hasUsableBounds = ({ dtype, minimum, maximum }: TensorSpec): boolean =>
  dtype === 'bool' || [minimum, maximum].every((bound) => [bound].flat().every(isUsable));

/** The range of element `i` of an action. */
function rangeOf(
  { name, dtype, minimum, maximum }: TensorSpec,
  i: number,
  { bounds, boundsRemedy }: ScaleOptions,
): Range {
  const where = `action '${name}'`;
  const [given, own] = [[boundAt(minimum, i), boundAt(maximum, i)], isFloat(dtype)];
  let [low = Number.NaN, high = Number.NaN] = dtype === 'bool' ? [0, 1] : given;
  if (own && bounds !== undefined && !(isUsable(low) && isUsable(high))) [low, high] = bounds;
  else if (!isUsable(low) || !isUsable(high) || low > high) {
    const text = (bound: number | undefined) => bound ?? '(none)';
    const isTooFar = [low, high].some((bound) => Number.isFinite(bound) && !isUsable(bound));
    throw new PmpoError({
      where,
      what: `element ${i} has the minimum ${text(given[0])} and the maximum ${text(given[1])}${isTooFar ? `, and bounds beyond ${largestBound} count as missing` : ''}`,
      remedy:
        boundsRemedy ??
        `A policy needs a finite minimum and maximum: have the server give them in its spec${own ? ', or set environment.actionBounds, such as [-1, 1]' : ''}`,
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
 * Integers are rounded: value i of n is the canonical −1 + 2i / (n − 1). Bounds beyond ±2²⁴ count as missing.
 * @throws PmpoError for strings, axes of any length, a dimension without two finite bounds or with more than 4,096 integers,
 *   or no actions at all.
 */
export function scaleActions(specs: NamedSpecs, options: ScaleOptions = {}): ActionScaler {
  const parts = Object.keys(specs)
    .sort()
    .map((name) => numericSpec('action', specs[name]));
  const ranges = parts.flatMap((spec) =>
    Array.from({ length: spec.size }, (_, i) => rangeOf(spec, i, options)),
  );
  if (ranges.length === 0) throw new PmpoError({ where: 'actions', what: 'the environment has no actions' });
  return {
    size: ranges.length,
    minimum: Float32Array.from(ranges, ({ low }) => low),
    maximum: Float32Array.from(ranges, ({ high }) => high),
    values: Int32Array.from(ranges, ({ values }) => values),
    parts: parts.map(({ name, shape, size }) => ({ name, shape, size })),
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
