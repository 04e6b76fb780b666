import { PmpoError } from '../../core/errors.js';
import type { HostTensor, TensorFunction, Variable } from '../tensors.js';
import { fuse } from './fuse.js';
import { Graph, reachable, type Value } from './graph.js';
import { type Border, encodeModel } from './model.js';
import { type InputType, type Trace, Tracer } from './trace.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

/** What a model that leaves the program needs to be written: the function, and the values of the engine's variables. */
export interface ExportRequest {
  readonly tracer: Tracer;
  readonly read: (variables: readonly Variable[]) => Promise<HostTensor[]>;
  readonly name: string;
  readonly fn: TensorFunction;
  readonly inputs: Shapes;
  /** Leaves the first axis of every input open. */
  readonly dynamicBatch: boolean;
}

/**
 * The bytes of an ONNX model of a function that only computes, with the variables' values inside. Inputs are float32.
 * @throws PmpoError when the function assigns to a variable, or depends on the batch's size in a way that cannot be left open.
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

/** Exports a function of another engine, whose variables become constants by being used. */
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
  readonly inputs: readonly Border[];
  readonly outputs: readonly Border[];
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
      remedy: 'Only functions that leave variables as they are can be exported',
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

/** Two batch sizes that no network's width is likely to be. */
const [batchA, batchB] = [1009, 1511];
const batchAxis = 'batch';

/**
 * Traces at two batch sizes and compares: where the two graphs' shape constants differ, they are computed from the size of
 * the first input when the model runs. @throws PmpoError where anything else differs.
 */
function openBatch(name: string, traceWith: (batch: number) => Trace): Exportable {
  const [a, b] = [traceWith(batchA), traceWith(batchB)];
  const [nodesA, nodesB] = [a, b].map(({ outputs }) => reachable(outputs.map(({ value }) => value)).nodes);
  const refuse = (): never => {
    throw new PmpoError({
      where: `export of '${name}'`,
      what: 'what it computes depends on the size of the batch',
      remedy: 'Export it for one size',
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
  const border = (left: Trace['outputs'] | Trace['inputs'], right: Trace['outputs'] | Trace['inputs']) =>
    left.map(({ name: port, value }, i): Border => {
      const twin = right[i]!.value.shape;
      const shape = value.shape.map((n, axis) =>
        n === twin[axis] ? n : n === batchA ? batchAxis : `${port}_${axis}`,
      );
      return { name: port, value, shape };
    });
  return { inputs: border(a.inputs, b.inputs), outputs: border(a.outputs, b.outputs), reads: a.reads };
}

/** Shape constants as expressions of the batch's size. */
class BatchSizes {
  readonly #graph = new Graph('size');
  readonly #first: Value;
  readonly #refuse: () => never;

  constructor(first: Value, refuse: () => never) {
    this.#first = first;
    this.#refuse = refuse;
  }

  /** The constant itself where it is equal in both traces, else what computes it. */
  open(value: Value, twin: Value): Value {
    const [left, right] = [value.constant, twin.constant];
    if (left === undefined || right === undefined || left.length !== right.length) return this.#refuse();
    if (left.every((item, i) => Object.is(item, right[i]))) return value;
    if (!(left instanceof BigInt64Array && right instanceof BigInt64Array)) return this.#refuse();
    const parts = [...left].map((item, i) => this.#affine(Number(item), Number(right[i])));
    if (parts.length === 1) return parts[0]!;
    return this.#graph.emit('Concat', parts, { axis: 0 }, { type: 'int64', shape: [parts.length] });
  }

  /** [scale · batch + offset], from its values at the two batch sizes. */
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
