import { PmpoError } from '../../core/errors.js';
import type { HostTensor, TensorFunction, Variable } from '../tensors.js';
import { fuse } from './fuse.js';
import { Graph, reachable, type Value } from './graph.js';
import { encodeModel, type NamedValue } from './model.js';
import { type InputType, type Trace, Tracer } from './trace.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

/** A function to export, and how to trace it and to read its variables. */
export interface ExportRequest {
  readonly tracer: Tracer;
  readonly read: (variables: readonly Variable[]) => Promise<HostTensor[]>;
  readonly name: string;
  readonly fn: TensorFunction;
  readonly inputs: Shapes;
  /** Whether the first axis of every input has variable length. */
  readonly dynamicBatch: boolean;
}

/**
 * Exports a function that does not change variables, with their current values as constants. All inputs are float32.
 * @returns the bytes of an ONNX model.
 * @throws PmpoError when the function assigns to a variable, or with `dynamicBatch` computes anything that depends on the batch
 *   size.
 */
export async function exportModel({
  tracer,
  read,
  name,
  fn,
  inputs,
  dynamicBatch,
}: ExportRequest): Promise<Uint8Array> {
  const trace = dynamicBatch
    ? openBatch(name, (batch) => traceAt(tracer, name, fn, withBatch(inputs, batch)))
    : fixedBatch(traceAt(tracer, name, fn, inputs));
  const values = await read(trace.reads.map(({ variable }) => variable));
  return encodeModel({
    name,
    inputs: trace.inputs,
    outputs: trace.outputs,
    folded: new Map(trace.reads.map(({ value }, i) => [value, values[i]!.data])),
  });
}

/** Exports a function of an engine that does not trace; its variables become constants. */
export async function exportForeign(
  name: string,
  fn: TensorFunction,
  inputs: Shapes,
  dynamicBatch: boolean,
): Promise<Uint8Array> {
  const tracer = new Tracer('constant');
  return exportModel({ tracer, read: async () => [], name, fn, inputs, dynamicBatch });
}

interface Exportable {
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  readonly reads: Trace['reads'];
}

function traceAt(tracer: Tracer, name: string, fn: TensorFunction, inputs: Shapes): Trace {
  const types = new Map<string, InputType>(
    Object.entries(inputs).map(([input, shape]) => [input, { dtype: 'float32', shape }]),
  );
  const trace = tracer.trace(name, fn, types);
  const changed = trace.writes[0] ?? trace.created[0];
  if (changed !== undefined) {
    throw new PmpoError({
      where: `export of '${name}'`,
      what: `it assigns to the variable '${changed.variable.name}'`,
      remedy: 'Export a function that does not change variables',
    });
  }
  fuse(trace.outputs.map(({ value }) => value));
  return trace;
}

function fixedBatch({ inputs, outputs, reads }: Trace): Exportable {
  return { inputs, outputs, reads };
}

function withBatch(inputs: Shapes, batch: number): Shapes {
  return Object.fromEntries(Object.entries(inputs).map(([name, [, ...rest]]) => [name, [batch, ...rest]]));
}

/** Two batch sizes that are unlikely to be the width of a network. */
const [batchA, batchB] = [1009, 1511];
const batchAxis = 'batch';

/**
 * Traces with two batch sizes and compares the graphs. Shape constants that differ are computed from the first axis of the first
 * input when the model runs.
 * @throws PmpoError when anything else differs.
 */
function openBatch(name: string, traceWith: (batch: number) => Trace): Exportable {
  const [a, b] = [traceWith(batchA), traceWith(batchB)];
  const [nodesA, nodesB] = [a, b].map(({ outputs }) => reachable(outputs.map(({ value }) => value)).nodes);
  const refuse = (): never => {
    throw new PmpoError({
      where: `export of '${name}'`,
      what: 'its results depend on the batch size',
      remedy: 'Export it for a fixed batch size',
    });
  };
  if (nodesA!.length !== nodesB!.length) refuse();
  const sizes = new BatchSizes(a.inputs[0]!.value, refuse);
  for (const [i, node] of nodesA!.entries()) {
    const other = nodesB![i]!;
    if (
      node.operator !== other.operator ||
      JSON.stringify(node.attributes) !== JSON.stringify(other.attributes)
    ) {
      refuse();
    }
    node.inputs = node.inputs.map((value, j) => {
      const twin = other.inputs[j];
      return value?.constant === undefined || twin === undefined ? value : sizes.open(value, twin);
    });
  }
  const withOpenAxes = (
    left: Trace['outputs'] | Trace['inputs'],
    right: Trace['outputs'] | Trace['inputs'],
  ) =>
    left.map(({ name: port, value }, i): NamedValue => {
      const twin = right[i]!.value.shape;
      const shape = value.shape.map((n, axis) =>
        n === twin[axis] ? n : n === batchA ? batchAxis : `${port}_${axis}`,
      );
      return { name: port, value, shape };
    });
  return {
    inputs: withOpenAxes(a.inputs, b.inputs),
    outputs: withOpenAxes(a.outputs, b.outputs),
    reads: a.reads,
  };
}

/** Makes shape constants expressions of the batch size. */
class BatchSizes {
  readonly #graph = new Graph('size');
  readonly #first: Value;
  readonly #refuse: () => never;

  constructor(first: Value, refuse: () => never) {
    this.#first = first;
    this.#refuse = refuse;
  }

  /** The constant itself if it is equal in both traces, else a value that computes it. */
  open(value: Value, twin: Value): Value {
    const [left, right] = [value.constant, twin.constant];
    if (left === undefined || right === undefined || left.length !== right.length) return this.#refuse();
    if (left.every((item, i) => Object.is(item, right[i]))) return value;
    if (!(left instanceof BigInt64Array && right instanceof BigInt64Array)) return this.#refuse();
    const parts = [...left].map((item, i) => this.#affine(Number(item), Number(right[i])));
    if (parts.length === 1) return parts[0]!;
    return this.#graph.emit('Concat', parts, { axis: 0 }, { type: 'int64', shape: [parts.length] });
  }

  /** The value [scale · batch + offset] that is `atA` and `atB` at the two batch sizes. */
  #affine(atA: number, atB: number): Value {
    const scale = (atB - atA) / (batchB - batchA);
    if (!Number.isInteger(scale)) return this.#refuse();
    const offset = atA - scale * batchA;
    if (scale === 0) return this.#graph.integers([atA]);
    const size = { type: 'int64', shape: [1] } as const;
    const batch = this.#graph.emit('Shape', [this.#first], { start: 0, end: 1 }, size);
    const scaled = this.#graph.emit('Mul', [batch, this.#graph.integers([scale])], {}, size);
    return this.#graph.emit('Add', [scaled, this.#graph.integers([offset])], {}, size);
  }
}
