import { PmpoError } from '../../errors.js';
import type { HostTensor, NamedTensors, Variable } from '../tensors.js';
import { encodeModel } from './model.js';
import type { InputType, Tracer } from './trace.js';

/** Traces a function that only computes and writes it as a model with the variables' values inside. */
export async function exportModel(
  tracer: Tracer,
  read: (variables: readonly Variable[]) => Promise<HostTensor[]>,
  name: string,
  fn: (inputs: NamedTensors) => NamedTensors,
  inputs: Readonly<Record<string, readonly number[]>>,
  _dynamicBatch: boolean,
): Promise<Uint8Array> {
  const types = new Map<string, InputType>(
    Object.entries(inputs).map(([input, shape]) => [input, { dtype: 'float32', shape }]),
  );
  const trace = tracer.trace(name, fn, types);
  if (trace.writes.length > 0) {
    throw new PmpoError({
      where: `export of '${name}'`,
      what: `it assigns to the variable '${trace.writes[0]!.variable.name}'`,
      remedy: 'Only functions that leave variables as they are can be exported',
    });
  }
  const values = await read(trace.reads.map(({ variable }) => variable));
  return encodeModel({
    name,
    inputs: trace.inputs,
    outputs: trace.outputs,
    folded: new Map(trace.reads.map(({ value }, i) => [value, values[i]!.data])),
  });
}
