import * as tf from '../tf.js';
import type { Graph, Value } from './graph.js';
import {
  cast,
  elementwise,
  type KernelContext,
  kernel,
  numeric,
  parseAxes,
  reduce,
  reducedShape,
  reshape,
  slice,
  transpose,
} from './kernels.js';
import { elu } from './kernels-elementwise.js';
import { uniformOf } from './simplify.js';

/** Kernels that combine elements: matrix products, reductions, softmax, sorting, cumulative sums. */

function swapLast(graph: Graph, value: Value): Value {
  const rank = value.shape.length;
  const perm = value.shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
  return transpose(graph, value, perm);
}

/** The matrix product a·b over the last two axes, with broadcasting over the other axes. */
function matMul(
  graph: Graph,
  a: Value,
  b: Value,
  transposeA: boolean,
  transposeB: boolean,
  refuse: KernelContext['refuse'],
): Value {
  // A matrix product can take a transposed operand as it was before the transpose.
  const left =
    a.transposeOf === undefined
      ? { value: a, flip: transposeA }
      : { value: a.transposeOf, flip: !transposeA };
  const right =
    b.transposeOf === undefined
      ? { value: b, flip: transposeB }
      : { value: b.transposeOf, flip: !transposeB };
  const [inner, other] = [
    transposeA ? a.shape.at(-2) : a.shape.at(-1),
    transposeB ? b.shape.at(-1) : b.shape.at(-2),
  ];
  if (inner !== other) refuse(`the inner dimensions of [${a.shape}] and [${b.shape}] differ`);
  const rows = transposeA ? a.shape.at(-1)! : a.shape.at(-2)!;
  const columns = transposeB ? b.shape.at(-2)! : b.shape.at(-1)!;
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(
    [...a.shape.slice(0, -2)],
    [...b.shape.slice(0, -2)],
  );
  const shape = [...batch, rows, columns];
  if (uniformOf(a) === 0 || uniformOf(b) === 0) return graph.broadcast(graph.scalar('float32', 0), shape);
  if (shape.length === 2 && (left.flip || right.flip)) {
    return graph.emit(
      'Gemm',
      [left.value, right.value],
      { transA: left.flip ? 1 : 0, transB: right.flip ? 1 : 0 },
      { type: 'float32', shape },
    );
  }
  const operand = (side: { value: Value; flip: boolean }) =>
    side.flip ? swapLast(graph, side.value) : side.value;
  return graph.emit('MatMul', [operand(left), operand(right)], {}, { type: 'float32', shape });
}

function activate(
  graph: Graph,
  x: Value,
  activation: string,
  alpha: number | undefined,
  refuse: KernelContext['refuse'],
): Value {
  switch (activation) {
    case 'linear':
      return x;
    case 'relu':
      return elementwise(graph, 'Relu', [x]);
    case 'elu':
      return elu(graph, x);
    case 'sigmoid':
      return elementwise(graph, 'Sigmoid', [x]);
    case 'leakyrelu':
      return elementwise(graph, 'LeakyRelu', [x], x.type, { alpha: { float: alpha ?? 0.2 } });
    case 'relu6':
      return elementwise(graph, 'Min', [elementwise(graph, 'Relu', [x]), graph.scalar('float32', 6)]);
    default:
      return refuse(`the activation '${activation}' cannot be traced`);
  }
}

/** ONNX has no cumulative product before operator set 26: log₂ n rounds, each multiplying by the element 2^i positions earlier. */
function cumulativeProduct(
  graph: Graph,
  x: Value,
  axis: number,
  exclusive: boolean,
  reverse: boolean,
): Value {
  const length = x.shape[axis];
  /** Shifts `value` by `by` positions along the axis and fills the free positions with ones. */
  const shifted = (value: Value, by: number): Value => {
    const ones = value.shape.map((n, i) => (i === axis ? by : n));
    const begin = value.shape.map((_, i) => (i === axis && reverse ? by : 0));
    const size = value.shape.map((n, i) => (i === axis ? n - by : n));
    const kept = slice(graph, value, begin, size);
    const filling = graph.broadcast(graph.scalar(value.type as 'float32' | 'int32', 1), ones);
    const parts = reverse ? [kept, filling] : [filling, kept];
    return graph.emit('Concat', parts, { axis }, { type: value.type, shape: value.shape });
  };
  let product = exclusive && length > 0 ? shifted(x, 1) : x;
  for (let by = 1; by < length; by *= 2) product = elementwise(graph, 'Mul', [product, shifted(product, by)]);
  return product;
}

export function registerAlgebraKernels(): void {
  kernel('BatchMatMul', ({ graph, input, attributes, refuse }) =>
    matMul(
      graph,
      input('a'),
      input('b'),
      attributes.transposeA as boolean,
      attributes.transposeB as boolean,
      refuse,
    ),
  );
  kernel('_FusedMatMul', ({ graph, input, optionalInput, attributes, refuse }) => {
    const { transposeA, transposeB, activation, leakyreluAlpha } = attributes as {
      transposeA: boolean;
      transposeB: boolean;
      activation?: string;
      leakyreluAlpha?: number;
    };
    let product = matMul(graph, input('a'), input('b'), transposeA, transposeB, refuse);
    const bias = optionalInput('bias');
    if (bias !== undefined) product = elementwise(graph, 'Add', [product, bias]);
    return activate(graph, product, activation ?? 'linear', leakyreluAlpha, refuse);
  });
  kernel('Einsum', ({ graph, inputs, attributes }) => {
    const equation = (attributes.equation as string).replace(/\s/g, '');
    const values = inputs();
    const [left, right] = equation.split('->');
    const size = new Map<string, number>();
    left.split(',').forEach((term, i) => {
      for (const [axis, letter] of [...term].entries()) size.set(letter, values[i].shape[axis]);
    });
    const shape = [...right].map((letter) => size.get(letter)!);
    return graph.emit('Einsum', values, { equation }, { type: 'float32', shape });
  });

  const sums: Record<string, string> = { Sum: 'ReduceSum', Prod: 'ReduceProd' };
  for (const [name, operator] of Object.entries(sums)) {
    kernel(name, ({ graph, input, attributes }) => {
      const x = numeric(graph, input('x'));
      return reduce(
        graph,
        operator,
        x,
        parseAxes(attributes.axis, x.shape.length),
        Boolean(attributes.keepDims),
      );
    });
  }
  kernel('Mean', ({ graph, input, attributes }) => {
    const x = cast(graph, input('x'), 'float32');
    return reduce(
      graph,
      'ReduceMean',
      x,
      parseAxes(attributes.axis, x.shape.length),
      Boolean(attributes.keepDims),
    );
  });
  const extremes: Record<string, string> = { Max: 'ReduceMax', Min: 'ReduceMin' };
  for (const [name, operator] of Object.entries(extremes)) {
    kernel(name, ({ graph, input, attributes }) => {
      const x = numeric(graph, input('x'));
      const axes = parseAxes(attributes.reductionIndices ?? attributes.axis, x.shape.length);
      return reduce(graph, operator, x, axes, Boolean(attributes.keepDims));
    });
  }
  const logical: Record<string, string> = { Any: 'ReduceMax', All: 'ReduceMin' };
  for (const [name, operator] of Object.entries(logical)) {
    kernel(name, ({ graph, input, attributes }) => {
      const x = cast(graph, input('x'), 'int32');
      const axes = parseAxes(attributes.axis, x.shape.length);
      return cast(graph, reduce(graph, operator, x, axes, Boolean(attributes.keepDims)), 'bool');
    });
  }
  for (const name of ['ArgMax', 'ArgMin']) {
    kernel(name, ({ graph, input, attributes }) => {
      const x = input('x');
      const [axis] = parseAxes(attributes.axis, x.shape.length);
      const found = graph.emit(
        name,
        [x],
        { axis, keepdims: 0 },
        {
          type: 'int64',
          shape: reducedShape(x.shape, [axis], false),
        },
      );
      return cast(graph, found, 'int32');
    });
  }
  kernel('TopK', ({ graph, input, attributes }) => {
    const x = input('x');
    const k = attributes.k as number;
    const shape = [...x.shape.slice(0, -1), k];
    const [values, indices] = graph.emitMany(
      'TopK',
      [x, graph.integers([k])],
      { axis: -1, largest: 1, sorted: 1 },
      [
        { type: x.type, shape },
        { type: 'int64', shape },
      ],
    );
    return [values, cast(graph, indices, 'int32')];
  });
  kernel('Softmax', ({ graph, input, attributes }) => {
    const x = input('logits');
    const rank = x.shape.length;
    const axis = (((attributes.dim as number | undefined) ?? -1) + rank) % rank;
    const softmax = (of: Value, along: number) =>
      graph.emit('Softmax', [of], { axis: along }, { type: of.type, shape: of.shape });
    // Along the other of two exchanged axes, the exchange comes last, where the next one may undo it.
    if (x.transposeOf !== undefined && axis === rank - 1)
      return swapLast(graph, softmax(x.transposeOf, rank - 2));
    return softmax(x, axis);
  });
  kernel('LogSoftmax', ({ graph, input, attributes }) => {
    const x = input('logits');
    const axis = (attributes.axis as number | undefined) ?? -1;
    return graph.emit(
      'LogSoftmax',
      [x],
      { axis: axis < 0 ? axis + x.shape.length : axis },
      {
        type: x.type,
        shape: x.shape,
      },
    );
  });
  kernel('Cumprod', ({ graph, input, attributes }) => {
    const x = input('x');
    const [axis] = parseAxes((attributes.axis as number | undefined) ?? 0, x.shape.length);
    return cumulativeProduct(graph, x, axis, Boolean(attributes.exclusive), Boolean(attributes.reverse));
  });
  kernel('Cumsum', ({ graph, input, attributes }) => {
    const x = input('x');
    const [axis] = parseAxes((attributes.axis as number | undefined) ?? 0, x.shape.length);
    return graph.emit(
      'CumSum',
      [x, reshape(graph, graph.integers([axis]), [])],
      { exclusive: attributes.exclusive ? 1 : 0, reverse: attributes.reverse ? 1 : 0 },
      { type: x.type, shape: x.shape },
    );
  });
}
