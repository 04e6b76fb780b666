import { PmpoError } from '../core/errors.js';
import { sizeOf } from '../core/shape.js';
import type { NamedSpecs, NamedTensorValues, TensorSpec, TensorValue } from './environment.js';
import { emptyData, isNumeric, numericData } from './tensor-data.js';

/** Checks of values against their specs, and a value to use when none is given. */

/** Whether a shape fits a spec's shape, in which a negative axis takes any length. */
export function shapeFits(shape: readonly number[], spec: readonly number[]): boolean {
  return shape.length === spec.length && shape.every((n, i) => spec[i] < 0 || n === spec[i]);
}

/** A bound of element `i`; undefined if there is none. */
export const boundAt = (bound: number | readonly number[] | undefined, i: number): number | undefined =>
  typeof bound === 'number' || bound === undefined ? bound : bound[i];

/** A numeric spec of a fixed size, as a policy needs it. @throws PmpoError for any other. */
export function numericSpec(kind: string, { name, dtype, shape, ...bounds }: TensorSpec) {
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

const invalid = (kind: string, { name }: TensorSpec, what: string) =>
  new PmpoError({ where: `${kind} '${name}'`, what });

/**
 * Checks the dtype, the shape and the number of elements of one value, but not the elements.
 * @param kind `action` or `observation`, for the message
 * @throws PmpoError for a value of another form than its spec.
 */
export function checkForm(kind: string, spec: TensorSpec, value: TensorValue): void {
  if (value.dtype !== spec.dtype)
    throw invalid(kind, spec, `its dtype is ${value.dtype}. It must be ${spec.dtype}`);
  if (!shapeFits(value.shape, spec.shape))
    throw invalid(kind, spec, `its shape is [${value.shape}]. It must be [${spec.shape}]`);
  if (value.data.length !== sizeOf(value.shape))
    throw invalid(kind, spec, `it has ${value.data.length} elements for the shape [${value.shape}]`);
}

/**
 * Checks the form and the elements of one value.
 * @param kind `action` or `observation`, for the message
 * @throws PmpoError for a value of another form than its spec, for NaN, and for a number outside the bounds.
 */
export function checkValue(kind: string, spec: TensorSpec, value: TensorValue): void {
  checkForm(kind, spec, value);
  if (!isNumeric(spec.dtype) || spec.dtype === 'bool') return;
  const numbers = value.data as ArrayLike<number | bigint>;
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i];
    if (Number.isNaN(number)) throw invalid(kind, spec, `element ${i} is NaN`);
    const [low, high] = [boundAt(spec.minimum, i), boundAt(spec.maximum, i)];
    if (low !== undefined && number < low)
      throw invalid(kind, spec, `element ${i} is ${number}, below its minimum ${low}`);
    if (high !== undefined && number > high)
      throw invalid(kind, spec, `element ${i} is ${number}, above its maximum ${high}`);
  }
}

/** The value nearest to 0 within a spec's bounds, which stands in for an action that is left out. */
export function neutralValue({ dtype, shape: open, minimum, maximum }: TensorSpec): TensorValue {
  const shape = open.map((n) => (n < 0 ? 1 : n));
  const size = sizeOf(shape);
  const nearest = (i: number) =>
    Math.min(Math.max(0, boundAt(minimum, i) ?? 0), boundAt(maximum, i) ?? Infinity);
  const isBounded = isNumeric(dtype) && dtype !== 'bool';
  return { dtype, shape, data: isBounded ? numericData(dtype, size, nearest) : emptyData(dtype, size) };
}

/**
 * Checks an action, which may leave out some of the named actions.
 * @throws PmpoError for a name that is not in the specs, and for a value that does not fit its spec.
 */
export function checkActions(specs: NamedSpecs, actions: NamedTensorValues, where: string): void {
  for (const [name, value] of Object.entries(actions)) {
    if (specs[name] === undefined) {
      const known = Object.keys(specs).join(', ') || 'none';
      throw new PmpoError({ where, what: `unknown action '${name}'`, remedy: `The actions are: ${known}` });
    }
    checkValue('action', specs[name], value);
  }
}
