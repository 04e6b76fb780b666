import { PmpoError } from '../core/errors.js';
import { withCustomGradients } from './custom-gradient.js';
import type { Tensor, TensorFields } from './tensors.js';
import * as tf from './tf.js';

/** Results of a function of a part of a batch. */
export interface PartResults<S, R> {
  /** Tensors that are sums over the batch, such as gradients. */
  readonly sums: S;
  /** Tensors with entries, along the first axis, for the examples of the batch in their order. */
  readonly rows: R;
}

/** The results without their names. */
export interface PartTensors {
  readonly sums: readonly Tensor[];
  readonly rows: readonly Tensor[];
}

export type PartFunction = (inputs: readonly Tensor[]) => PartTensors;

/** A backend that can run a function once for each part of its inputs. */
export interface PartsBackend {
  overParts(inputs: readonly Tensor[], parts: number, fn: PartFunction): PartTensors;
}

/**
 * `fn` of a batch, computed in parts that the engine onnx runs one after another: the tensors of a part stay in the processor's cache,
 * and memory is needed for one part only. Engines that do not trace call `fn` once with the whole batch. Both give the same up to
 * rounding if `sums` are sums over examples. Gradients are taken inside of `fn`: a gradient through `overParts` is refused.
 *
 * @param inputs at least one tensor; all have the same length B along the first axis.
 * @param parts the number of parts, a whole number of at least 1 that divides B.
 * @param fn a function that may read variables, and neither makes any nor assigns to them. Its sums are float32 or int32; its rows have
 *   as many entries along the first axis as its inputs.
 * @throws PmpoError when the batch cannot be split into `parts`, when `fn` breaks these rules, or when a gradient through the results is
 *   taken.
 */
export function overParts<I extends TensorFields<I>, S extends TensorFields<S>, R extends TensorFields<R>>(
  inputs: I,
  parts: number,
  fn: (inputs: I) => PartResults<S, R>,
): PartResults<S, R> {
  const names = Object.keys(inputs);
  const tensors = Object.values(inputs) as Tensor[];
  checkParts(names, tensors, parts);
  let results: PartResults<S, R> | undefined;
  const ofPart: PartFunction = (part) => {
    results = withoutAssignments(() => fn(named(names, part)));
    checkSums(results.sums);
    checkRows(results.rows, part[0]!.shape[0]!);
    return { sums: Object.values(results.sums) as Tensor[], rows: Object.values(results.rows) as Tensor[] };
  };
  const backend = tf.backend() as Partial<PartsBackend>;
  const { sums, rows } =
    parts === 1 || backend.overParts === undefined
      ? ofPart(tensors)
      : backend.overParts(tensors, parts, ofPart);
  // The results of a part depend on whatever `fn` has read besides its inputs.
  const sources = [...tensors, ...Object.values(results!.sums), ...Object.values(results!.rows)] as Tensor[];
  const guarded = (of: readonly Tensor[]) => of.map((tensor) => withoutGradient(tensor, sources));
  return {
    sums: named(Object.keys(results!.sums), guarded(sums)),
    rows: named(Object.keys(results!.rows), guarded(rows)),
  };
}

function named<T>(names: readonly string[], tensors: readonly Tensor[]): T {
  return Object.fromEntries(names.map((name, i) => [name, tensors[i]!])) as T;
}

function checkParts(names: readonly string[], tensors: readonly Tensor[], parts: number): void {
  if (!Number.isInteger(parts) || parts < 1) {
    throw new PmpoError({
      where: 'overParts',
      what: `the number of parts is ${parts}`,
      remedy: 'Give a whole number of at least 1',
    });
  }
  if (tensors.length === 0) {
    throw new PmpoError({
      where: 'overParts',
      what: 'there is no input, whose first axis would be split',
      remedy: 'Give at least one',
    });
  }
  for (const [i, { shape }] of tensors.entries()) {
    if (shape.length > 0 && shape[0] === tensors[0]!.shape[0] && shape[0]! % parts === 0) continue;
    throw new PmpoError({
      where: `overParts, input '${names[i]}'`,
      what: `its shape [${shape}] cannot be split into ${parts} parts of the batch`,
      remedy: 'Give tensors with the same length along the first axis, which the number of parts divides',
    });
  }
}

function checkSums(sums: object): void {
  for (const [name, sum] of Object.entries(sums)) {
    const where = `overParts, sum '${name}'`;
    if (!(sum instanceof tf.Tensor)) throw new PmpoError({ where, what: 'is not a tensor' });
    if (sum.dtype === 'float32' || sum.dtype === 'int32') continue;
    throw new PmpoError({
      where,
      what: `is ${sum.dtype}, which cannot be added up`,
      remedy: 'Cast it to float32 or int32',
    });
  }
}

/** @param length the number of examples that the function was given. */
function checkRows(rows: object, length: number): void {
  for (const [name, row] of Object.entries(rows)) {
    const where = `overParts, rows '${name}'`;
    if (!(row instanceof tf.Tensor)) throw new PmpoError({ where, what: 'is not a tensor' });
    if (row.shape[0] === length) continue;
    throw new PmpoError({
      where,
      what: `the shape [${row.shape}] does not start with ${length}, the number of examples that the function was given`,
      remedy: 'Return one entry along the first axis for each example',
    });
  }
}

/** @throws PmpoError when `fn` makes a variable or assigns to one. */
function withoutAssignments<T>(fn: () => T): T {
  const registered = () => Object.values(tf.engine().registeredVariables);
  const before = new Map(registered().map((variable) => [variable, variable.dataId]));
  const result = fn();
  const changed = registered().find((variable) => before.get(variable) !== variable.dataId);
  if (changed === undefined) return result;
  throw new PmpoError({
    where: `overParts, variable '${changed.name}'`,
    what: `was ${before.has(changed) ? 'assigned to' : 'made'} in the function of a part`,
    remedy: 'Make variables before, and assign afterwards what the function returns',
  });
}

/** Returns `tensor`, whose gradient in `sources`, or in what they depend on, throws. */
function withoutGradient(tensor: Tensor, sources: readonly Tensor[]): Tensor {
  const guard = withCustomGradients<readonly Tensor[], Tensor>(() => ({
    value: tf.clone(tensor),
    gradFunc: () => {
      throw new PmpoError({
        where: 'overParts',
        what: 'a gradient was taken through its results',
        remedy: 'Take the gradient inside of the function of a part, and return it as a sum',
      });
    },
  }));
  return guard(...sources);
}
