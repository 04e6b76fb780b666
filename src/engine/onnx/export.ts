import { PmpoError } from '../../core/errors.js';
import type { HostTensor, TensorFunction, Variable } from '../tensors.js';
import { fuse } from './fuse.js';
import { encodeModel } from './model.js';
import { openModel } from './open-model.js';
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
 * @throws PmpoError when the function assigns to a variable, or with `dynamicBatch` depends on the batch size in another way than by
 *   products of its powers.
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
    ? openBatch(tracer, name, fn, inputs)
    : traceForExport(tracer, name, fn, inputs, { openLengths: false });
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

/** Traces a function that must not change variables; all inputs are float32. @throws PmpoError when it assigns to one. */
export function traceForExport(
  tracer: Tracer,
  name: string,
  fn: TensorFunction,
  inputs: Shapes,
  options: { readonly openLengths: boolean },
): Trace {
  const types = new Map<string, InputType>(
    Object.entries(inputs).map(([input, shape]) => [input, { dtype: 'float32', shape }]),
  );
  const trace = tracer.trace(name, fn, types, options);
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

/** The function with the first axis of every input open. */
function openBatch(tracer: Tracer, name: string, fn: TensorFunction, inputs: Shapes) {
  return openModel({
    name,
    inputs: Object.fromEntries(
      Object.entries(inputs).map(([input, [, ...rest]]) => [input, ['batch', ...rest]]),
    ),
    numbers: {},
    trace: (shapes) => traceForExport(tracer, name, fn, shapes, { openLengths: true }),
  });
}
