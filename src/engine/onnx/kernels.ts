import type { NamedAttrMap, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import { PmpoError } from '../../core/errors.js';
import { sameShape, sizeOf } from '../../core/shape.js';
import { traceBackendName } from '../scope.js';
import * as tf from '../tf.js';
import type { Attributes, Graph, Value } from './graph.js';
import { scalarOf, scale, scaled, simplified, uniformOf, withoutRepeats } from './simplify.js';
import type { TracingBackend } from './tracing-backend.js';

/** The context of a kernel of the tracing backend. */
export interface KernelContext {
  readonly graph: Graph;
  /** The graph value of a named input. */
  input(name: string): Value;
  /** The graph value of an input that may be missing. */
  optionalInput(name: string): Value | undefined;
  /** The graph values of inputs given as a list (Concat, AddN, Pack). */
  inputs(): Value[];
  readonly attributes: NamedAttrMap;
  /** @throws PmpoError that names the kernel and the traced function. */
  refuse(what: string): never;
}

type Kernel = (context: KernelContext) => Value | readonly Value[];

/** Registers a kernel of the tracing backend; `build` appends nodes to the graph and returns the results. */
export function kernel(name: string, build: Kernel): void {
  tf.registerKernel({
    kernelName: name,
    backendName: traceBackendName,
    kernelFunc: ({ inputs, backend, attrs }) => {
      const tracing = backend as TracingBackend;
      const named = inputs as NamedTensorInfoMap;
      const graphValue = (info: TensorInfo): Value => {
        if (info instanceof tf.Variable) tracing.claim(info);
        // A tensor of another backend is moved to this one and becomes a constant.
        const owner = tf.engine().state.tensorInfo.get(info.dataId)?.backend;
        if (!tracing.has(info.dataId) && owner !== tracing) tf.engine().moveData(tracing, info.dataId);
        return tracing.graphValue(info);
      };
      const result = build({
        graph: tracing.graph,
        input: (key) => graphValue(named[key] as TensorInfo),
        optionalInput: (key) => (named[key] ? graphValue(named[key] as TensorInfo) : undefined),
        inputs: () => Object.values(named).map((info) => graphValue(info as TensorInfo)),
        attributes: attrs ?? {},
        refuse: (what) => {
          throw new PmpoError({
            where: `kernel ${name} in '${tracing.functionName}'`,
            what,
            remedy: "Write it with other operations, or choose the engine 'wasm' or 'cpu'",
          });
        },
      });
      const wrap = (value: Value) => tracing.wrap(value, name);
      return Array.isArray(result) ? (result as Value[]).map(wrap) : wrap(result as Value);
    },
  });
}

/** The value before it was broadcast, or before it got axes of length 1 in front, which broadcasting adds by itself. */
function unbroadcast(value: Value): Value {
  const source = value.broadcastOf ?? value;
  if (source.node?.operator !== 'Reshape') return source;
  const inner = source.node.inputs[0]!;
  const added = source.shape.length - inner.shape.length;
  const isSame = added > 0 && sameShape(source.shape, [...Array<number>(added).fill(1), ...inner.shape]);
  return isSame ? inner : source;
}

/** The shape to which operands are broadcast together. */
export function jointShape(operands: readonly Value[]): number[] {
  return operands.reduce<number[]>(
    (joint, operand) => tf.broadcast_util.assertAndGetBroadcastShape(joint, [...operand.shape]),
    [],
  );
}

/**
 * An elementwise operator with broadcasting. Broadcasts are delayed: the operator is computed on the smallest shape that holds
 * its result. Results that are known while tracing are not computed at all.
 */
export function elementwise(
  graph: Graph,
  operator: string,
  operands: readonly Value[],
  type: Value['type'] = operands[operands.length - 1].type,
  attributes: Attributes = {},
): Value {
  const shape = jointShape(operands);
  const simpler = simplified(graph, operator, operands, type);
  if (simpler !== undefined) return graph.broadcast(simpler, shape);
  const fewer = withoutRepeats(operator, operands);
  if (fewer.operands.some((operand, i) => operand !== operands[i])) {
    return elementwise(graph, fewer.operator, fewer.operands, type, attributes);
  }
  const moved = operator === 'Mul' ? withFactorOnSmaller(graph, operands) : undefined;
  if (moved !== undefined) return graph.broadcast(elementwise(graph, operator, moved, type), shape);
  const sources = operands.map(unbroadcast);
  const least = jointShape(sources);
  if (sizeOf(least) < sizeOf(shape)) {
    return graph.broadcast(graph.emit(operator, sources, attributes, { type, shape: least }), shape);
  }
  const taken = [...operands];
  for (let i = 0; i < taken.length; i++) {
    const others = taken.filter((_, j) => j !== i);
    if (sameShape(jointShape([...others, sources[i]]), shape)) taken[i] = sources[i];
  }
  return graph.emit(operator, taken, attributes, { type, shape });
}

/** Rewrites a · (x · c) as (a · c) · x if a is smaller than x: one pass over x, not two. */
function withFactorOnSmaller(graph: Graph, [a, b]: readonly Value[]): readonly Value[] | undefined {
  const [left, right] = [unbroadcast(a), unbroadcast(b)];
  const [smaller, larger] = sizeOf(left.shape) < sizeOf(right.shape) ? [left, right] : [right, left];
  if (sizeOf(smaller.shape) === sizeOf(larger.shape)) return undefined;
  const product = scaled(larger);
  return product === undefined ? undefined : [scale(graph, smaller, product.by), product.of];
}

export function cast(graph: Graph, value: Value, type: Value['type']): Value {
  if (value.type === type) return value;
  const number = uniformOf(value);
  if (number !== undefined) {
    const converted =
      type === 'bool' ? Number(number !== 0) : type === 'float32' ? number : Math.trunc(number);
    if (type !== 'int64') return graph.broadcast(scalarOf(graph, type, converted), value.shape);
  }
  if (value.broadcastOf !== undefined) {
    return graph.broadcast(cast(graph, value.broadcastOf, type), value.shape);
  }
  const codes = { float32: 1, int32: 6, int64: 7, bool: 9 };
  return graph.emit('Cast', [value], { to: codes[type] }, { type, shape: value.shape });
}

/** Casts booleans to 0 and 1, which TensorFlow.js allows in arithmetic. */
export function numeric(graph: Graph, value: Value): Value {
  return value.type === 'bool' ? cast(graph, value, 'int32') : value;
}

export function reshape(graph: Graph, value: Value, shape: readonly number[]): Value {
  if (sameShape(value.shape, shape)) return value;
  // The reshape of a reshape is one reshape of the first value.
  const source = value.node?.operator === 'Reshape' ? value.node.inputs[0]! : value;
  if (sameShape(source.shape, shape)) return source;
  if (source.constant !== undefined) return graph.constantWhole(source.type, shape, source.constant);
  const scalar = source.broadcastOf;
  if (scalar?.shape.every((n) => n === 1)) {
    return graph.broadcast(reshape(graph, scalar, []), shape);
  }
  return graph.emit('Reshape', [source, graph.integers(shape)], {}, { type: value.type, shape });
}

/** The axes of a reduction, sorted and non-negative; all of them when none is named. */
export function parseAxes(axis: unknown, rank: number): number[] {
  const axes = axis === undefined || axis === null ? undefined : (axis as number | number[]);
  const all = Array.from({ length: rank }, (_, i) => i);
  return tf.util.parseAxisParam(axes ?? all, Array(rank).fill(1)).sort((a, b) => a - b);
}

export function reducedShape(shape: readonly number[], axes: readonly number[], keepDims: boolean): number[] {
  return keepDims
    ? shape.map((n, i) => (axes.includes(i) ? 1 : n))
    : shape.filter((_, i) => !axes.includes(i));
}

/** Sums over at least this many rows are computed as a product with a row of ones, several times faster than ReduceSum. */
const minRowsForProduct = 4;

export function reduce(
  graph: Graph,
  operator: string,
  value: Value,
  axes: readonly number[],
  keepDims: boolean,
): Value {
  if (axes.length === 0) return value;
  const shape = reducedShape(value.shape, axes, keepDims);
  const small = reduceBroadcast(graph, operator, value, axes, keepDims);
  if (small !== undefined) return graph.broadcast(small, shape);
  const isOverRows =
    operator === 'ReduceSum' && value.type === 'float32' && axes.every((axis, i) => axis === i);
  if (isOverRows && !graph.openLengths) {
    const rows = sizeOf(value.shape.slice(0, axes.length));
    const columns = sizeOf(value.shape.slice(axes.length));
    if (rows >= minRowsForProduct && columns > 1) {
      const ones = graph.constantWhole('float32', [1, rows], new Float32Array(rows).fill(1));
      const table = reshape(graph, value, [rows, columns]);
      const sum = graph.emit('Gemm', [ones, table], {}, { type: 'float32', shape: [1, columns] });
      return reshape(graph, sum, shape);
    }
  }
  if (graph.openLengths && shape.length === 0 && value.type === 'float32') {
    const whole = sumOfAll(graph, operator, value);
    if (whole !== undefined) return whole;
  }
  return graph.emit(
    operator,
    [value, graph.integers(axes)],
    { keepdims: keepDims ? 1 : 0 },
    { type: value.type, shape },
  );
}

/**
 * The sum or mean of all elements where lengths are open: one sum, of what a sum along an axis was taken of, and a factor, which may
 * merge with others. Undefined if that is the node itself.
 */
function sumOfAll(graph: Graph, operator: string, value: Value): Value | undefined {
  if (operator !== 'ReduceSum' && operator !== 'ReduceMean') return undefined;
  const { node } = value;
  const inner = node?.operator === 'ReduceSum' || node?.operator === 'Reshape' ? node.inputs[0]! : value;
  if (operator === 'ReduceSum' && inner === value) return undefined;
  const sum = reduce(graph, 'ReduceSum', inner, parseAxes(undefined, inner.shape.length), false);
  if (operator === 'ReduceSum') return sum;
  return elementwise(graph, 'Mul', [sum, graph.scalar('float32', 1 / sizeOf(value.shape))]);
}

/**
 * A reduction over axes that were broadcast, computed on the value before the broadcast. The caller broadcasts the result to
 * the reduced shape. Undefined if no such axis is reduced.
 */
function reduceBroadcast(
  graph: Graph,
  operator: string,
  value: Value,
  axes: readonly number[],
  keepDims: boolean,
): Value | undefined {
  const source = value.broadcastOf;
  if (source === undefined || operator === 'ReduceProd') return undefined;
  const missing = value.shape.length - source.shape.length;
  const padded = value.shape.map((_, i) => (i < missing ? 1 : source.shape[i - missing]));
  const made = axes.filter((axis) => padded[axis] === 1 && value.shape[axis] !== 1);
  if (made.length === 0) return undefined;
  const real = axes.filter((axis) => padded[axis] !== 1);
  const reduced = reduce(graph, operator, reshape(graph, source, padded), real, true);
  const times = operator === 'ReduceSum' ? sizeOf(made.map((axis) => value.shape[axis])) : 1;
  const whole = elementwise(graph, 'Mul', [reduced, graph.scalar(value.type as 'float32', times)]);
  return reshape(graph, whole, reducedShape(reduced.shape, axes, keepDims));
}

export function transpose(graph: Graph, value: Value, perm: readonly number[]): Value {
  if (perm.every((axis, i) => axis === i)) return value;
  const shape = perm.map((axis) => value.shape[axis]);
  if (uniformOf(value) !== undefined)
    return graph.broadcast(reshape(graph, value.broadcastOf ?? value, []), shape);
  const rank = perm.length;
  const swapsLast = perm.every((axis, i) => axis === (i < rank - 2 ? i : 2 * rank - 3 - i));
  if (swapsLast && value.transposeOf !== undefined) return value.transposeOf;
  return graph.emit(
    'Transpose',
    [value],
    { perm },
    {
      type: value.type,
      shape,
      ...(swapsLast ? { transposeOf: value } : {}),
    },
  );
}

/** A part of `value`: along each axis, `size` elements from `begin`. */
export function slice(graph: Graph, value: Value, begin: readonly number[], size: readonly number[]): Value {
  const axes = begin.map((_, i) => i).filter((i) => begin[i] !== 0 || size[i] !== value.shape[i]);
  if (axes.length === 0) return value;
  return graph.emit(
    'Slice',
    [
      value,
      graph.integers(axes.map((i) => begin[i])),
      graph.integers(axes.map((i) => begin[i] + size[i])),
      graph.integers(axes),
    ],
    {},
    { type: value.type, shape: size },
  );
}
