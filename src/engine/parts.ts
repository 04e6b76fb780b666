import { PmpoError } from '../core/errors.js';
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
 * rounding if `sums` are sums over examples. Gradients are taken inside of `fn`: there is none of `overParts` itself.
 *
 * @param inputs tensors with the same length B along the first axis.
 * @param parts the number of parts; divides B.
 * @param fn a function that may read variables and does not assign to them.
 * @throws PmpoError when the first axes cannot be split into `parts`.
 */
export function overParts<I extends TensorFields<I>, S extends TensorFields<S>, R extends TensorFields<R>>(
  inputs: I,
  parts: number,
  fn: (inputs: I) => PartResults<S, R>,
): PartResults<S, R> {
  const names = Object.keys(inputs);
  const tensors = Object.values(inputs) as Tensor[];
  for (const [i, { shape }] of tensors.entries()) {
    if (shape.length > 0 && shape[0] === tensors[0]!.shape[0] && shape[0]! % parts === 0) continue;
    throw new PmpoError({
      where: `overParts, input '${names[i]}'`,
      what: `its shape [${shape}] cannot be split into ${parts} parts of the batch`,
      remedy: 'Give tensors with the same length along the first axis, which the number of parts divides',
    });
  }
  const backend = tf.backend() as Partial<PartsBackend>;
  if (parts === 1 || backend.overParts === undefined) return fn(inputs);
  let results: PartResults<S, R> | undefined;
  const { sums, rows } = backend.overParts(tensors, parts, (part) => {
    results = fn(named(names, part));
    return { sums: Object.values(results.sums) as Tensor[], rows: Object.values(results.rows) as Tensor[] };
  });
  return { sums: named(Object.keys(results!.sums), sums), rows: named(Object.keys(results!.rows), rows) };
}

function named<T>(names: readonly string[], tensors: readonly Tensor[]): T {
  return Object.fromEntries(names.map((name, i) => [name, tensors[i]!])) as T;
}
