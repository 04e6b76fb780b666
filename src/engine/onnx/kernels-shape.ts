import type { DataType } from '@tensorflow/tfjs-core';
import { sizeOf } from '../../core/shape.js';
import * as tf from '../tf.js';
import type { Graph, Value } from './graph.js';
import { cast, elementwise, kernel, reshape, slice, transpose } from './kernels.js';
import { valueType } from './tracing-backend.js';

/** Kernels that move, join, repeat, select or create elements. */

function filled(graph: Graph, shape: readonly number[], value: number, dtype: DataType): Value {
  const type = valueType(dtype);
  if (type === 'bool') return graph.broadcast(graph.constant('bool', [], Uint8Array.of(value)), shape);
  return graph.broadcast(graph.scalar(type, value), shape);
}

function concat(graph: Graph, values: readonly Value[], axis: number): Value {
  const present = values.filter((v) => sizeOf(v.shape) > 0);
  if (present.length === 1) return present[0];
  const shape = [...values[0].shape];
  shape[axis] = values.reduce((sum, v) => sum + v.shape[axis], 0);
  return graph.emit('Concat', present, { axis }, { type: values[0].type, shape });
}

function split(graph: Graph, value: Value, sizes: readonly number[], axis: number): readonly Value[] {
  if (sizes.length === 1) return [value];
  return graph.emitMany(
    'Split',
    [value, graph.integers(sizes)],
    { axis },
    sizes.map((size) => ({
      type: value.type,
      shape: value.shape.map((n, i) => (i === axis ? size : n)),
    })),
  );
}

/** The sums of the rows with equal segment ids, [S, …], of x [R, …] and ids [R]: the gradient of a gather. */
function segmentSum(graph: Graph, x: Value, ids: Value, segments: number): Value {
  const rest = x.shape.slice(ids.shape.length);
  const rows = sizeOf(ids.shape);
  const shape = [segments, ...rest];
  const flat = reshape(graph, x, [rows, ...rest]);
  const zero = graph.broadcast(graph.scalar(x.type as 'float32' | 'int32', 0), shape);
  const indices = reshape(graph, cast(graph, ids, 'int64'), [rows, 1]);
  return graph.emit('ScatterND', [zero, indices, flat], { reduction: 'add' }, { type: x.type, shape });
}

/** x [batch…, outer…, n, rest…] and indices [batch…, picks…] → [batch…, outer…, picks…, rest…]. */
function gatherBatched(graph: Graph, x: Value, indices: Value, axis: number, batchDims: number): Value {
  const outer = x.shape.slice(batchDims, axis);
  const rest = x.shape.slice(axis + 1);
  const picks = indices.shape.slice(batchDims);
  const batch = x.shape.slice(0, batchDims);
  // GatherND selects along the axis right after the batch axes: move the axis there, and the outer axes back afterwards.
  const order = x.shape.map((_, i) => i);
  order.splice(batchDims, 0, ...order.splice(axis, 1));
  const found = graph.emit(
    'GatherND',
    [transpose(graph, x, order), reshape(graph, cast(graph, indices, 'int64'), [...indices.shape, 1])],
    { batch_dims: batchDims },
    { type: x.type, shape: [...batch, ...picks, ...outer, ...rest] },
  );
  const back = found.shape.map((_, i) => i);
  back.splice(batchDims, 0, ...back.splice(batchDims + picks.length, outer.length));
  return transpose(graph, found, back);
}

export function registerShapeKernels(): void {
  kernel('Reshape', ({ graph, input, attributes }) => {
    const x = input('x');
    return reshape(graph, x, tf.util.inferFromImplicitShape(attributes.shape as number[], sizeOf(x.shape)));
  });
  kernel('ExpandDims', ({ graph, input, attributes }) => {
    const x = input('input');
    const dim = attributes.dim as number;
    const shape = [...x.shape];
    shape.splice(dim < 0 ? dim + x.shape.length + 1 : dim, 0, 1);
    return reshape(graph, x, shape);
  });
  kernel('Transpose', ({ graph, input, attributes }) =>
    transpose(graph, input('x'), attributes.perm as number[]),
  );
  kernel('BroadcastTo', ({ graph, input, attributes }) =>
    graph.broadcast(input('x'), attributes.shape as number[]),
  );
  kernel('Tile', ({ graph, input, attributes }) => {
    const x = input('x');
    const reps = attributes.reps as number[];
    const shape = x.shape.map((n, i) => n * reps[i]);
    // Repeating only axes of length 1 is a broadcast.
    if (x.shape.every((n, i) => n === 1 || reps[i] === 1)) return graph.broadcast(x, shape);
    return graph.emit('Tile', [x, graph.integers(reps)], {}, { type: x.type, shape });
  });
  kernel('Concat', ({ graph, inputs, attributes }) => {
    const values = inputs();
    return concat(graph, values, tf.util.parseAxisParam(attributes.axis as number, [...values[0].shape])[0]);
  });
  kernel('Pack', ({ graph, inputs, attributes }) => {
    const values = inputs();
    const rank = values[0].shape.length;
    const axis = ((attributes.axis as number) + rank + 1) % (rank + 1);
    const single = values.map((v) =>
      reshape(graph, v, [...v.shape.slice(0, axis), 1, ...v.shape.slice(axis)]),
    );
    return concat(graph, single, axis);
  });
  kernel('Unpack', ({ graph, input, attributes }) => {
    const value = input('value');
    const axis = tf.util.parseAxisParam(attributes.axis as number, [...value.shape])[0];
    const shape = value.shape.filter((_, i) => i !== axis);
    return split(graph, value, Array(value.shape[axis]).fill(1), axis).map((v) => reshape(graph, v, shape));
  });
  kernel('SplitV', ({ graph, input, attributes }) => {
    const x = input('x');
    const axis = tf.util.parseAxisParam(attributes.axis as number, [...x.shape])[0];
    const asked = attributes.numOrSizeSplits as number | number[];
    const sizes =
      typeof asked === 'number' ? Array(asked).fill(x.shape[axis] / asked) : inferSizes(asked, x.shape[axis]);
    return split(graph, x, sizes, axis);
  });
  kernel('Slice', ({ graph, input, attributes }) => {
    const x = input('x');
    const shape = [...x.shape];
    const [begin, size] = tf.slice_util.parseSliceParams(
      { shape, rank: shape.length } as never,
      attributes.begin as number[],
      attributes.size as number[],
    );
    return slice(graph, x, begin, size);
  });
  kernel('StridedSlice', ({ graph, input, attributes }) => {
    const x = input('x');
    const ranges = attributes as Record<'begin' | 'end' | 'strides', number[]>;
    const masks = attributes as Record<
      'beginMask' | 'endMask' | 'ellipsisMask' | 'newAxisMask' | 'shrinkAxisMask',
      number
    >;
    const { begin, end, strides, finalShape } = tf.slice_util.sliceInfo(
      [...x.shape],
      ranges.begin,
      ranges.end,
      ranges.strides,
      masks.beginMask,
      masks.endMask,
      masks.ellipsisMask,
      masks.newAxisMask,
      masks.shrinkAxisMask,
    );
    const shape = begin.map((b, i) => Math.max(0, Math.ceil((end[i] - b) / strides[i])));
    // ONNX counts a negative end from the back; the smallest integer is the end before the first element.
    const ends = end.map((e, i) => (strides[i] < 0 && e < 0 ? -(2 ** 31) : e));
    const axes = begin.map((_, i) => i);
    const taken = graph.emit(
      'Slice',
      [x, graph.integers(begin), graph.integers(ends), graph.integers(axes), graph.integers(strides)],
      {},
      { type: x.type, shape },
    );
    return reshape(graph, taken, finalShape);
  });
  kernel('PadV2', ({ graph, input, attributes }) => {
    const x = input('x');
    const paddings = attributes.paddings as [number, number][];
    const shape = x.shape.map((n, i) => n + paddings[i][0] + paddings[i][1]);
    const amounts = [...paddings.map((p) => p[0]), ...paddings.map((p) => p[1])];
    const fill = graph.scalar(x.type as 'float32' | 'int32', attributes.constantValue as number);
    return graph.emit(
      'Pad',
      [x, graph.integers(amounts), fill],
      { mode: 'constant' },
      { type: x.type, shape },
    );
  });
  kernel('Reverse', ({ graph, input, attributes }) => {
    const x = input('x');
    const axes = tf.util.parseAxisParam(attributes.dims as number[], [...x.shape]);
    return graph.emit(
      'Slice',
      [
        x,
        graph.integers(axes.map(() => -1)),
        graph.integers(axes.map(() => -(2 ** 31))),
        graph.integers(axes),
        graph.integers(axes.map(() => -1)),
      ],
      {},
      { type: x.type, shape: x.shape },
    );
  });
  kernel('GatherV2', ({ graph, input, attributes }) => {
    const [x, indices] = [input('x'), input('indices')];
    const axis = tf.util.parseAxisParam(attributes.axis as number, [...x.shape])[0];
    const batchDims = (attributes.batchDims as number | undefined) ?? 0;
    if (batchDims !== 0) return gatherBatched(graph, x, indices, axis, batchDims);
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    return graph.emit('Gather', [x, indices], { axis }, { type: x.type, shape });
  });
  kernel('GatherNd', ({ graph, input }) => {
    const [x, indices] = [input('params'), input('indices')];
    const depth = indices.shape[indices.shape.length - 1];
    const shape = [...indices.shape.slice(0, -1), ...x.shape.slice(depth)];
    return graph.emit('GatherND', [x, cast(graph, indices, 'int64')], {}, { type: x.type, shape });
  });
  kernel('ScatterNd', ({ graph, input, attributes }) => {
    const [indices, updates] = [input('indices'), input('updates')];
    const shape = attributes.shape as number[];
    const zero = graph.broadcast(graph.scalar(updates.type as 'float32' | 'int32', 0), shape);
    return graph.emit(
      'ScatterND',
      [zero, cast(graph, indices, 'int64'), updates],
      { reduction: 'add' },
      { type: updates.type, shape },
    );
  });
  kernel('TensorScatterUpdate', ({ graph, input }) => {
    const [x, indices, updates] = [input('tensor'), input('indices'), input('updates')];
    return graph.emit(
      'ScatterND',
      [x, cast(graph, indices, 'int64'), updates],
      {},
      { type: x.type, shape: x.shape },
    );
  });
  kernel('UnsortedSegmentSum', ({ graph, input, attributes }) =>
    segmentSum(graph, input('x'), input('segmentIds'), attributes.numSegments as number),
  );
  kernel('OneHot', ({ graph, input, attributes }) => {
    const indices = input('indices');
    const { depth, onValue, offValue, dtype } = attributes as {
      depth: number;
      onValue: number;
      offValue: number;
      dtype?: DataType;
    };
    // ONNX counts negative indices from the end, TensorFlow.js gives them a row of off values: compare instead.
    const positions = graph.constant(
      'int32',
      [depth],
      Int32Array.from({ length: depth }, (_, i) => i),
    );
    const hit = elementwise(
      graph,
      'Equal',
      [reshape(graph, cast(graph, indices, 'int32'), [...indices.shape, 1]), positions],
      'bool',
    );
    const type = valueType(dtype ?? 'int32');
    if (type === 'bool') return hit;
    if (onValue === 1 && offValue === 0) return cast(graph, hit, type);
    return elementwise(graph, 'Where', [hit, graph.scalar(type, onValue), graph.scalar(type, offValue)]);
  });
  kernel('Fill', ({ graph, attributes }) => {
    const { shape, value, dtype } = attributes as { shape: number[]; value: number; dtype?: DataType };
    return filled(graph, shape, value, dtype ?? 'float32');
  });
  kernel('ZerosLike', ({ graph, input }) => filled(graph, input('x').shape, 0, input('x').type as DataType));
  kernel('OnesLike', ({ graph, input }) => filled(graph, input('x').shape, 1, input('x').type as DataType));
  kernel('Range', ({ graph, attributes }) => {
    const { start, stop, step, dtype } = attributes as {
      start: number;
      stop: number;
      step: number;
      dtype?: 'float32' | 'int32';
    };
    const length = Math.max(0, Math.ceil((stop - start) / (step || 1)));
    const numbers = Array.from({ length }, (_, i) => start + i * (step || 1));
    return dtype === 'int32'
      ? graph.constant('int32', [length], Int32Array.from(numbers))
      : graph.constant('float32', [length], Float32Array.from(numbers));
  });
  kernel('LinSpace', ({ graph, attributes }) => {
    const { start, stop, num } = attributes as { start: number; stop: number; num: number };
    const step = (stop - start) / Math.max(1, num - 1);
    return graph.constant(
      'float32',
      [num],
      Float32Array.from({ length: num }, (_, i) => start + i * step),
    );
  });
}

function inferSizes(sizes: readonly number[], total: number): number[] {
  const known = sizes.filter((s) => s >= 0).reduce((a, b) => a + b, 0);
  return sizes.map((s) => (s < 0 ? total - known : s));
}
