import { PmpoError } from '../../core/errors.js';
import type { HostTensor, NamedHostTensors, TensorFunction } from '../tensors.js';
import { traceForExport } from './export.js';
import { reachable } from './graph.js';
import { encodeModel, type NamedValue, withMetadata } from './model.js';
import { type Axis, type OpenNumber, openModel } from './open-model.js';
import { loadRuntime } from './runtime.js';
import { uniformOf } from './simplify.js';
import { Tracer } from './trace.js';

/** Portable graphs: functions without variables, with open lengths and numbers, as ONNX models that describe themselves. */

/** A function of tensors, lengths and numbers. */
export interface OpenFunction {
  readonly name: string;
  readonly inputs: Readonly<Record<string, readonly Axis[]>>;
  readonly numbers: Readonly<Record<string, OpenNumber>>;
  /** Whether an output is left out of the model if it is always 0. */
  readonly mayVanish?: (output: string) => boolean;
  /** The function at these numbers, for inputs of these lengths. */
  build(numbers: Readonly<Record<string, number>>, lengths: Readonly<Record<string, number>>): TensorFunction;
}

export interface OpenExport {
  /** The inputs that the model reads, without its numbers. */
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  /** The names of the numbers that are inputs of the model, scalars named `setting/NAME`. */
  readonly open: readonly string[];
  readonly unused: readonly string[];
  readonly fixed: readonly string[];
  /** The bytes of the model. */
  encode(metadata: Readonly<Record<string, string>>): Uint8Array;
}

const numberInput = (name: string) => `setting/${name}`;

/**
 * Traces a function and opens its lengths and numbers.
 * @throws PmpoError when it reads a traced value, assigns to a variable, or depends on a length in a way that cannot be opened.
 */
export function exportOpen({
  name,
  inputs,
  numbers,
  build,
  mayVanish = () => false,
}: OpenFunction): OpenExport {
  const tracer = new Tracer('constant');
  const model = openModel({
    name,
    inputs,
    numbers,
    trace: (shapes, at, lengths) =>
      traceForExport(tracer, name, build(at, lengths), shapes, { openLengths: true }),
  });
  const outputs = model.outputs.filter((port) => !mayVanish(port.name) || uniformOf(port.value) !== 0);
  const used = new Set(reachable(outputs.map(({ value }) => value)).inputs);
  const read = model.inputs.filter(({ value }) => used.has(value));
  const scalars = [...model.numbers].map(([key, value]) => ({ name: numberInput(key), value }));
  return {
    inputs: read,
    outputs,
    open: [...model.numbers.keys()],
    unused: model.unused,
    fixed: model.fixed,
    encode: (metadata) =>
      withMetadata(encodeModel({ name, inputs: [...read, ...scalars], outputs }), metadata),
  };
}

/** A case in which a model must give the same results as the function that it was made from. */
export interface OpenCase {
  readonly lengths: Readonly<Record<string, number>>;
  readonly numbers: Readonly<Record<string, number>>;
  /** A value for every input of the function. */
  readonly values: NamedHostTensors;
}

/** How far results may differ, relative to the largest number of the result. */
const tolerance = 1e-4;

/**
 * Runs the model and the function, traced anew for just this case, and compares. A function whose code branches on a length or a
 * number is found out here.
 * @throws PmpoError naming the result that differs.
 */
export async function checkOpen(
  fn: OpenFunction,
  { inputs, open }: OpenExport,
  model: Uint8Array,
  { lengths, numbers, values }: OpenCase,
): Promise<void> {
  const shapes = Object.fromEntries(Object.entries(values).map(([input, { shape }]) => [input, shape]));
  const trace = traceForExport(new Tracer('constant'), fn.name, fn.build(numbers, lengths), shapes, {
    openLengths: false,
  });
  const used = new Set(reachable(trace.outputs.map(({ value }) => value)).inputs);
  const read = trace.inputs.filter(({ value }) => used.has(value));
  const single = encodeModel({ name: fn.name, inputs: read, outputs: trace.outputs });
  const pick = (names: readonly NamedValue[]): NamedHostTensors =>
    Object.fromEntries(names.map(({ name }) => [name, values[name]!]));
  const settings = open.map((key): [string, HostTensor] => [
    numberInput(key),
    { shape: [], data: Float32Array.of(numbers[key]!) },
  ]);
  const expected = await runModel(single, pick(read));
  const found = await runModel(model, { ...pick(inputs), ...Object.fromEntries(settings) });
  for (const [output, { data }] of Object.entries(expected)) {
    const other = found[output];
    // An output that is always 0 may have been left out.
    if (other === undefined) continue;
    const items = [...data];
    const largest = items.reduce((most, item) => Math.max(most, Math.abs(item)), 1);
    const differs = items.some((item, i) => !(Math.abs(item - other.data[i]!) <= tolerance * largest));
    if (!differs && data.length === other.data.length) continue;
    const place = [...Object.entries(lengths), ...Object.entries(numbers)].map(([key, n]) => `${key} = ${n}`);
    throw new PmpoError({
      where: `export of '${fn.name}'`,
      what: `its ${output} at ${place.join(', ')} is not that of the graph traced at other lengths and numbers`,
      remedy: 'Compute it by tensor operations alone, without conditions on shapes or settings',
    });
  }
}

/** Runs a model once on ONNX Runtime. */
export async function runModel(model: Uint8Array, inputs: NamedHostTensors): Promise<NamedHostTensors> {
  const runtime = loadRuntime();
  const session = await runtime.InferenceSession.create(model, {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const feeds = Object.entries(inputs).map(([name, { shape, data }]) => [
      name,
      data instanceof Float32Array
        ? new runtime.Tensor('float32', data, shape)
        : new runtime.Tensor('int32', data, shape),
    ]);
    const results = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(
      Object.entries(results).map(([name, { dims, data }]) => [
        name,
        { shape: [...dims], data: data as Float32Array },
      ]),
    );
  } finally {
    await session.release();
  }
}
