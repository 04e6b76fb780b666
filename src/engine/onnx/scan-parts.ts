import { sameShape } from '../../core/shape.js';
import { type Attributes, type Body, dependencies, type Graph, reachable, type Value } from './graph.js';
import { uniformOf } from './simplify.js';

/** Results of one part, or of all: values to be added up over the parts, and values to be joined along their first axis. */
export interface PartValues {
  readonly sums: readonly Value[];
  readonly rows: readonly Value[];
}

/**
 * Splits inputs along their first axis, builds a graph of one part and runs it for each, one after another, as a Scan whose state
 * are the sums. Values that do not depend on the part are computed once, outside of it.
 * @param parts divides the length of the first axis of every input.
 */
export function scanParts(
  graph: Graph,
  inputs: readonly Value[],
  parts: number,
  build: (part: readonly Value[]) => PartValues,
): PartValues {
  const split = inputs.map((value) => {
    const [length, ...rest] = value.shape as [number, ...number[]];
    return reshape(graph, value, [parts, length / parts, ...rest]);
  });
  const part = split.map(({ type, shape }) => graph.partInput('part', type, shape.slice(1)));
  const built = build(part);
  const inside = dependentOn(part, [...built.sums, ...built.rows]);
  const summed = [...new Set(built.sums)].filter((value) => inside.has(value));
  const joined = [...new Set(built.rows)].filter((value) => inside.has(value));
  const before = summed.map(({ type, shape }) => graph.partInput('sum', type, shape));
  const after = summed.map((value, i) => accumulated(graph, before[i]!, value));
  const body = bodyOf([...before, ...part], [...after, ...joined]);
  const zeros = summed.map(({ type, shape }) =>
    graph.broadcast(graph.scalar(type as 'float32' | 'int32', 0), shape),
  );
  const results = graph.emitWithBody(
    'Scan',
    [...zeros, ...split],
    { num_scan_inputs: part.length } satisfies Attributes,
    body,
    [
      ...summed.map(({ type, shape }) => ({ type, shape })),
      ...joined.map(({ type, shape }) => ({ type, shape: [parts, ...shape] })),
    ],
  );
  const sums = new Map(summed.map((value, i) => [value, results[i]!]));
  const rows = new Map(joined.map((value, i) => [value, results[summed.length + i]!]));
  return {
    sums: built.sums.map((value) => sums.get(value) ?? times(graph, value, parts)),
    rows: built.rows.map((value) => {
      const [length, ...rest] = value.shape as [number, ...number[]];
      const all = rows.get(value) ?? graph.broadcast(value, [parts, ...value.shape]);
      return reshape(graph, all, [parts * length, ...rest]);
    }),
  };
}

function times(graph: Graph, value: Value, factor: number): Value {
  const { type, shape } = value;
  return graph.emit('Mul', [value, graph.scalar(type as 'float32' | 'int32', factor)], {}, { type, shape });
}

function reshape(graph: Graph, value: Value, shape: readonly number[]): Value {
  return graph.emit('Reshape', [value, graph.integers(shape)], {}, { type: value.type, shape });
}

/** The values among those that `outputs` depend on, themselves included, that depend on `inputs`. */
function dependentOn(inputs: readonly Value[], outputs: readonly Value[]): ReadonlySet<Value> {
  const dependent = new Set(inputs);
  for (const node of reachable(outputs).nodes) {
    if (!dependencies(node).some((value) => value !== undefined && dependent.has(value))) continue;
    for (const value of node.outputs) dependent.add(value);
  }
  return dependent;
}

function bodyOf(inputs: readonly Value[], outputs: readonly Value[]): Body {
  const inside = dependentOn(inputs, outputs);
  const captured = new Set<Value>();
  for (const node of reachable(outputs).nodes) {
    if (!inside.has(node.outputs[0]!)) continue;
    for (const value of dependencies(node)) {
      if (value !== undefined && value.constant === undefined && !inside.has(value)) captured.add(value);
    }
  }
  return { inputs, outputs, captured: [...captured] };
}

/**
 * sum + value. A matrix product and a scatter add to the sum themselves, which saves a pass over the sum. The gradient of an embedding
 * that is also the output layer is a sum of both.
 */
function accumulated(graph: Graph, sum: Value, value: Value): Value {
  const { node, type, shape } = value;
  const [a, b] = node?.inputs ?? [];
  if (node?.operator === 'Add' && sameShape(a!.shape, shape) && sameShape(b!.shape, shape)) {
    return accumulated(graph, accumulated(graph, sum, a!), b!);
  }
  const isProduct = node?.operator === 'Gemm' || (node?.operator === 'MatMul' && shape.length === 2);
  if (isProduct && node.inputs.length === 2) {
    return graph.emit('Gemm', [a, b, sum], node.attributes, { type, shape });
  }
  if (node?.operator === 'ScatterND' && node.attributes.reduction === 'add' && uniformOf(a!) === 0) {
    return graph.emit('ScatterND', [sum, ...node.inputs.slice(1)], node.attributes, { type, shape });
  }
  return graph.emit('Add', [sum, value], {}, { type, shape });
}
