import type { NamedAttrMap, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import { PmpoError } from '../../errors.js';
import { traceBackendName } from '../scope.js';
import * as tf from '../tf.js';
import type { Attributes, Graph, Value } from './graph.js';
import { sameShape } from './graph.js';
import type { TracingBackend } from './tracing-backend.js';

/** What a kernel of the tracing backend is written with. */
export interface KernelContext {
  readonly graph: Graph;
  /** The graph value of a named input. */
  input(name: string): Value;
  /** The graph value of an input that may be missing. */
  optionalInput(name: string): Value | undefined;
  /** The graph values of inputs given as a list (Concat, AddN, Pack). */
  inputs(): Value[];
  readonly attributes: NamedAttrMap;
  /** @throws PmpoError that names the kernel and the function being traced. */
  refuse(what: string): never;
}

type Kernel = (context: KernelContext) => Value | readonly Value[];

/** Registers a kernel; what it returns becomes tensors. */
export function kernel(name: string, build: Kernel): void {
  tf.registerKernel({
    kernelName: name,
    backendName: traceBackendName,
    kernelFunc: ({ inputs, backend, attrs }) => {
      const tracing = backend as TracingBackend;
      const named = inputs as NamedTensorInfoMap;
      const graphValue = (info: TensorInfo): Value => {
        // A tensor that lives on another backend is fetched from there and becomes a constant.
        if (!tracing.has(info.dataId)) tf.engine().moveData(tracing, info.dataId);
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

/** An elementwise operator with broadcasting: takes values before their broadcast where the result is the same. */
export function elementwise(
  graph: Graph,
  operator: string,
  operands: readonly Value[],
  type: Value['type'] = operands[operands.length - 1].type,
  attributes: Attributes = {},
): Value {
  const shape = operands.reduce<number[]>(
    (joint, operand) => tf.broadcast_util.assertAndGetBroadcastShape(joint, [...operand.shape]),
    [],
  );
  const taken = [...operands];
  for (let i = 0; i < taken.length; i++) {
    const source = taken[i].broadcastOf;
    if (source === undefined) continue;
    const others = taken.filter((_, j) => j !== i);
    const without = others.reduce<number[]>(
      (joint, operand) => tf.broadcast_util.assertAndGetBroadcastShape(joint, [...operand.shape]),
      [...source.shape],
    );
    if (sameShape(without, shape)) taken[i] = source;
  }
  if (taken.every((operand) => sizeIsOne(operand)) && shape.length > 0) {
    // All operands are broadcast scalars (a gradient of ones, say): compute one number and broadcast that.
    const smaller = taken.map((operand) => operand.broadcastOf ?? operand);
    const joint = smaller.reduce<number[]>(
      (s, operand) => tf.broadcast_util.assertAndGetBroadcastShape(s, [...operand.shape]),
      [],
    );
    return graph.broadcast(graph.emit(operator, smaller, attributes, { type, shape: joint }), shape);
  }
  return graph.emit(operator, taken, attributes, { type, shape });
}

function sizeIsOne(value: Value): boolean {
  const { shape } = value.broadcastOf ?? value;
  return shape.every((n) => n === 1);
}

export function cast(graph: Graph, value: Value, type: Value['type']): Value {
  if (value.type === type) return value;
  if (value.broadcastOf !== undefined) {
    return graph.broadcast(cast(graph, value.broadcastOf, type), value.shape);
  }
  const codes = { float32: 1, int32: 6, int64: 7, bool: 9 };
  return graph.emit('Cast', [value], { to: codes[type] }, { type, shape: value.shape });
}

/** Numbers that arithmetic can work on: TensorFlow.js lets booleans through as 0 and 1. */
export function numeric(graph: Graph, value: Value): Value {
  return value.type === 'bool' ? cast(graph, value, 'int32') : value;
}

export function reshape(graph: Graph, value: Value, shape: readonly number[]): Value {
  if (sameShape(value.shape, shape)) return value;
  // Reshaping a reshape starts from the first value.
  const source = value.node?.operator === 'Reshape' ? value.node.inputs[0]! : value;
  if (sameShape(source.shape, shape)) return source;
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

export function reduce(
  graph: Graph,
  operator: string,
  value: Value,
  axes: readonly number[],
  keepDims: boolean,
): Value {
  if (axes.length === 0) return value;
  const shape = reducedShape(value.shape, axes, keepDims);
  return graph.emit(
    operator,
    [value, graph.integers(axes)],
    { keepdims: keepDims ? 1 : 0 },
    {
      type: value.type,
      shape,
    },
  );
}

export function transpose(graph: Graph, value: Value, perm: readonly number[]): Value {
  if (perm.every((axis, i) => axis === i)) return value;
  const shape = perm.map((axis) => value.shape[axis]);
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

/** Part of `value`: along each axis from `begin`, `size` elements. */
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
