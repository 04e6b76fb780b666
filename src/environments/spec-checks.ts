import { PmpoError } from '../core/errors.js';
import { sizeOf } from '../core/shape.js';
import {
  emptyData,
  type NamedSpecs,
  type NamedTensorValues,
  type TensorSpec,
  type TensorValue,
} from './environment.js';

/** Whether a value is what a spec allows, and a value for when none is given. */

const show = (shape: readonly number[]) => `[${shape}]`;

/** True where a shape is the spec's, whose negative axis takes any length. */
export function shapeFits(shape: readonly number[], spec: readonly number[]): boolean {
  return shape.length === spec.length && shape.every((n, i) => spec[i] < 0 || n === spec[i]);
}

const at = (limit: number | readonly number[] | undefined, i: number): number | undefined =>
  typeof limit === 'number' || limit === undefined ? limit : limit[i];

/**
 * Checks the form of one value against its spec, and not what it holds.
 * @param kind `action` or `observation`, for the message
 * @throws PmpoError saying what is wrong and what would be right.
 */
export function checkForm(kind: string, spec: TensorSpec, value: TensorValue): void {
  const complain = (what: string): never => {
    throw new PmpoError({ where: `${kind} '${spec.name}'`, what });
  };
  if (value.dtype !== spec.dtype) complain(`its dtype is ${value.dtype}. It must be ${spec.dtype}`);
  if (!shapeFits(value.shape, spec.shape)) {
    complain(`its shape is ${show(value.shape)}. It must be ${show(spec.shape)}`);
  }
  if (value.data.length !== sizeOf(value.shape)) {
    complain(`it has ${value.data.length} elements for the shape ${show(value.shape)}`);
  }
}

/**
 * Checks one value against its spec.
 * @param kind `action` or `observation`, for the message
 * @throws PmpoError saying what is wrong and what would be right.
 */
export function checkValue(kind: string, spec: TensorSpec, value: TensorValue): void {
  checkForm(kind, spec, value);
  const complain = (what: string): never => {
    throw new PmpoError({ where: `${kind} '${spec.name}'`, what });
  };
  if (spec.dtype === 'string' || spec.dtype === 'bool' || spec.dtype === 'proto') return;
  const numbers = value.data as ArrayLike<number | bigint>;
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i];
    if (typeof number === 'number' && Number.isNaN(number)) complain(`element ${i} is NaN`);
    const [low, high] = [at(spec.minimum, i), at(spec.maximum, i)];
    if (low !== undefined && number < low) complain(`element ${i} is ${number}, below its minimum ${low}`);
    if (high !== undefined && number > high) complain(`element ${i} is ${number}, above its maximum ${high}`);
  }
}

/** The value nearest to 0 that a spec allows: what an action is when none was sent. */
export function neutralValue(spec: TensorSpec): TensorValue {
  const shape = spec.shape.map((n) => (n < 0 ? 1 : n));
  const data = emptyData(spec.dtype, sizeOf(shape));
  if (spec.dtype !== 'string' && spec.dtype !== 'bool' && spec.dtype !== 'proto') {
    const numbers = data as unknown as (number | bigint)[];
    const wide = spec.dtype === 'int64' || spec.dtype === 'uint64';
    for (let i = 0; i < numbers.length; i++) {
      const nearest = Math.min(Math.max(0, at(spec.minimum, i) ?? 0), at(spec.maximum, i) ?? Infinity);
      numbers[i] = wide ? BigInt(nearest) : nearest;
    }
  }
  return { dtype: spec.dtype, shape, data };
}

/** Checks what an environment is to do, as far as it is said. @throws PmpoError for an action that there is not, or that is not as its spec says. */
export function checkActions(specs: NamedSpecs, actions: NamedTensorValues, where: string): void {
  for (const [name, value] of Object.entries(actions)) {
    if (specs[name] === undefined) throw new PmpoError({ where, what: `there is no action '${name}'` });
    checkValue('action', specs[name], value);
  }
}
