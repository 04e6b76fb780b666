import { PmpoError } from '../core/errors.js';
import { sizeOf } from '../core/shape.js';
import type {
  HostTensor,
  Int32Tensor,
  NamedHostTensors,
  NamedTensors,
  Tensor,
  TensorFunction,
} from './tensors.js';
import * as tf from './tf.js';

/** The element type of a host tensor, by TensorFlow.js' name. */
export function hostDtype(value: HostTensor): 'float32' | 'int32' {
  return value.data instanceof Float32Array ? 'float32' : 'int32';
}

/**
 * @param where names the tensor in messages.
 * @throws PmpoError when the data do not fill the shape.
 */
export function checkHostTensor(where: string, { shape, data }: HostTensor): void {
  if (data.length === sizeOf(shape)) return;
  throw new PmpoError({
    where,
    what: `${data.length} numbers do not fill the shape [${shape}]`,
    remedy: `Give ${sizeOf(shape)} numbers`,
  });
}

/** A tensor on the current backend holding a copy of `value`. */
export function toTensor(value: HostTensor): Tensor {
  return tf.tensor(value.data.slice(), value.shape as number[], hostDtype(value));
}

/** A copy of a tensor's values; booleans become 0 and 1. */
export function toHost(tensor: Tensor): HostTensor {
  const data = tensor.dataSync<'float32' | 'int32' | 'bool'>();
  const owned = tensor.dtype === 'float32' ? Float32Array.from(data) : Int32Array.from(data);
  return { shape: tensor.shape.slice(), data: owned };
}

const int32Results = new WeakSet<Tensor>();

/**
 * Declares that a result of a compiled function is int32, so that the caller gets an Int32Array; booleans become 0 and 1.
 * Results that are not declared this way must be float32.
 */
export function int32Result<T extends Tensor>(tensor: T): Int32Tensor<T> {
  const result = (tensor.dtype === 'int32' ? tensor : tf.cast(tensor, 'int32')) as Int32Tensor<T>;
  int32Results.add(result);
  return result;
}

/**
 * `fn` with a check that its results have the element types that `Compiled.run` promises.
 * The returned function throws a PmpoError when a result is not a tensor, or is int32 or bool without `int32Result`.
 */
export function withCheckedResults(functionName: string, fn: TensorFunction): TensorFunction {
  return (inputs) => {
    const results = fn(inputs);
    checkResults(functionName, results);
    for (const [name, tensor] of Object.entries(results)) {
      if (tensor.dtype === 'float32' || int32Results.has(tensor)) continue;
      throw new PmpoError({
        where: `result '${name}' of '${functionName}'`,
        what: `is ${tensor.dtype}, not float32`,
        remedy: "Return int32Result(tensor) for an Int32Array, or tf.cast(tensor, 'float32')",
      });
    }
    return results;
  };
}

/** The names and element types of the inputs in the first call of a compiled function; later calls must agree with them. */
export class Signature {
  readonly #function: string;
  #dtypes: ReadonlyMap<string, string> | undefined;

  constructor(functionName: string) {
    this.#function = functionName;
  }

  /**
   * @throws PmpoError when an input is missing, unknown, of another element type than in the first call, or does not fill its
   *   shape.
   */
  check(inputs: NamedHostTensors): void {
    const given = new Map(Object.entries(inputs).map(([name, value]) => [name, hostDtype(value)]));
    for (const [name, value] of Object.entries(inputs)) {
      checkHostTensor(`input '${name}' of '${this.#function}'`, value);
    }
    this.#dtypes ??= given;
    for (const [name, dtype] of this.#dtypes) {
      const found = given.get(name);
      if (found === dtype) continue;
      const where = `input '${name}' of '${this.#function}'`;
      if (found === undefined) throw new PmpoError({ where, what: 'is missing' });
      throw new PmpoError({ where, what: `is ${found} but was ${dtype} in the first call` });
    }
    for (const name of given.keys()) {
      if (this.#dtypes.has(name)) continue;
      throw new PmpoError({
        where: `input '${name}' of '${this.#function}'`,
        what: 'was not given in the first call',
        remedy: `Its inputs are ${[...this.#dtypes.keys()].join(', ')}`,
      });
    }
  }
}

/** The inputs as they are passed to a function: reading one that the caller has not given throws a PmpoError that names it. */
export function guardedInputs(functionName: string, inputs: Record<string, Tensor>): NamedTensors {
  return new Proxy(inputs, {
    get(target, name) {
      if (typeof name !== 'string' || name in target) return target[name as string];
      throw new PmpoError({
        where: `input '${name}' of '${functionName}'`,
        what: 'is missing',
        remedy: `Given: ${Object.keys(target).join(', ') || 'nothing'}`,
      });
    },
  });
}

/** @throws PmpoError unless `results` is a plain object of tensors. */
export function checkResults(functionName: string, results: NamedTensors): void {
  for (const [name, value] of Object.entries(results)) {
    if (value instanceof tf.Tensor) continue;
    throw new PmpoError({ where: `result '${name}' of '${functionName}'`, what: 'is not a tensor' });
  }
}
