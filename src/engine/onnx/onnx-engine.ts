import { PmpoError } from '../../core/errors.js';
import { sizeOf } from '../../core/shape.js';
import type { Compiled, Engine, UntypedCompiled } from '../engine.js';
import { checkHostTensor, hostDtype, Signature, withCheckedResults } from '../host-tensors.js';
import { checkAssignable } from '../scope.js';
import type {
  HostTensor,
  InputShapes,
  NamedHostTensors,
  TensorFields,
  TensorFunction,
  Variable,
} from '../tensors.js';
import { Executor } from './executor.js';
import { exportModel } from './export.js';
import { fuse } from './fuse.js';
import { reachable, type Value } from './graph.js';
import { encodeModel, encodeRepeated, type NamedValue } from './model.js';
import { type Change, type Overwrite, overwrites } from './overwrites.js';
import type {
  Numbers,
  Port,
  Program,
  SessionSettings,
  TensorType,
  VariableOverwrite,
  VariablePort,
} from './program.js';
import { type InputType, type Trace, Tracer, type VariableValue } from './trace.js';

/**
 * A graph that does not change variables and has fewer floating-point operations than this runs in the calling thread, because
 * passing it to the other thread would take longer.
 */
const maxLocalOperations = 20e6;

/** Traces functions once for each combination of input shapes and runs the traces as ONNX models on ONNX Runtime. */
export class OnnxEngine implements Engine {
  readonly name = 'onnx';
  readonly #tracer = new Tracer();
  readonly #executor: Executor;
  readonly #indices = new Map<Variable, number>();
  #programs = 0;

  constructor(settings: SessionSettings) {
    this.#executor = new Executor(settings);
  }

  variable(name: string, initial: HostTensor): Variable {
    checkHostTensor(`variable '${name}'`, initial);
    const { scope } = this.#tracer;
    const variable = scope.create(name, initial);
    const index = this.#register(variable);
    void this.#executor.write(index, initial.data.slice()).catch(() => {});
    return variable;
  }

  jit<I extends TensorFields<I>, O extends TensorFields<O>>(
    name: string,
    fn: (inputs: I) => O,
  ): Compiled<I, O>;
  jit(name: string, fn: TensorFunction): UntypedCompiled {
    const checked = withCheckedResults(name, fn);
    const signature = new Signature(name);
    const programs = new Map<string, Program>();
    let disposed = false;
    return {
      run: async (inputs: NamedHostTensors) => {
        if (disposed) throw new PmpoError({ where: `function '${name}'`, what: 'has been disposed of' });
        signature.check(inputs);
        const key = JSON.stringify(
          Object.entries(inputs)
            .map(([input, { shape }]) => [input, shape])
            .sort(),
        );
        let program = programs.get(key);
        if (program === undefined) {
          program = this.#compile(name, checked, inputs);
          programs.set(key, program);
        }
        return this.#run(program, inputs);
      },
      dispose: () => {
        disposed = true;
        for (const { id } of programs.values()) void this.#executor.unload(id).catch(() => {});
        programs.clear();
      },
    };
  }

  async read(variables: readonly Variable[]): Promise<HostTensor[]> {
    const arrays = await this.#executor.read(variables.map((variable) => this.#index(variable)));
    return variables.map((variable, i) => ({ shape: variable.shape.slice(), data: arrays[i]!.slice() }));
  }

  async write(variable: Variable, value: HostTensor): Promise<void> {
    const index = this.#index(variable);
    checkAssignable(variable, value);
    await this.#executor.write(index, value.data.slice());
  }

  exportOnnx<I extends TensorFields<I>, O extends TensorFields<O>>(
    name: string,
    fn: (inputs: I) => O,
    inputs: InputShapes<NoInfer<I>>,
    dynamicBatch?: boolean,
  ): Promise<Uint8Array>;
  exportOnnx(
    name: string,
    fn: TensorFunction,
    inputs: Readonly<Record<string, readonly number[]>>,
    dynamicBatch = false,
  ): Promise<Uint8Array> {
    const read = (variables: readonly Variable[]) => this.read(variables);
    return exportModel({ tracer: this.#tracer, read, name, fn, inputs, dynamicBatch });
  }

  async dispose(): Promise<void> {
    await this.#executor.close();
    this.#tracer.dispose();
  }

  #register(variable: Variable): number {
    const index = this.#executor.addVariable({ type: variable.dtype as 'float32', shape: variable.shape });
    this.#indices.set(variable, index);
    return index;
  }

  #index(variable: Variable): number {
    const index = this.#indices.get(variable);
    if (index !== undefined) return index;
    throw new PmpoError({ where: `variable '${variable.name}'`, what: 'belongs to another engine' });
  }

  async #run(program: Program, inputs: NamedHostTensors): Promise<NamedHostTensors> {
    const arrays = await this.#executor.run(
      program.id,
      program.inputs.map(({ name }) => inputs[inputName(name)]!.data.slice()),
    );
    return Object.fromEntries(
      program.outputs.map(({ name, shape }, i) => [outputName(name), { shape, data: arrays[i]! }]),
    );
  }

  #compile(name: string, fn: TensorFunction, inputs: NamedHostTensors): Program {
    const types = new Map<string, InputType>(
      Object.entries(inputs).map(([input, value]) => [
        input,
        { dtype: hostDtype(value), shape: value.shape },
      ]),
    );
    const trace = this.#trace(name, fn, types);
    this.#initialize(name, trace.created);
    const program = this.#assemble(name, trace);
    this.#executor.load(program, countOperations(trace) < maxLocalOperations);
    return program;
  }

  #trace(name: string, fn: TensorFunction, types: ReadonlyMap<string, InputType>): Trace {
    try {
      return this.#tracer.trace(name, fn, types, { contributed: true });
    } finally {
      for (const { variable, initial } of this.#tracer.takeClaimed()) {
        void this.#executor.write(this.#register(variable), initial.data as Numbers).catch(() => {});
      }
    }
  }

  /** Computes the initial values of variables that a function has made while it was traced. */
  #initialize(name: string, created: readonly VariableValue[]): void {
    if (created.length === 0) return;
    for (const { variable } of created) this.#register(variable);
    const program = this.#assemble(`${name}, initial values`, {
      inputs: [],
      reads: [],
      outputs: [],
      created: [],
      writes: created,
    });
    this.#executor.load(program, false);
    void this.#executor.run(program.id, []).catch(() => {});
    void this.#executor.unload(program.id).catch(() => {});
  }

  #assemble(name: string, trace: Trace): Program {
    const whole = [...trace.outputs, ...trace.writes].map(({ value }) => value);
    const overwritten = overwrites(changes(trace), whole);
    const roots = whole.flatMap((value) => {
      const overwrite = overwritten.get(value);
      return overwrite === undefined ? [value] : [overwrite.indices, overwrite.updates];
    });
    fuse(roots, { squares: true });
    const needed = new Set(reachable(roots).inputs);
    const inputs = trace.inputs
      .filter(({ value }) => needed.has(value))
      .map((input) => ({ ...input, name: `${inputPrefix}${input.name}` }));
    const outputs = trace.outputs.map((output) => ({ ...output, name: `${outputPrefix}${output.name}` }));
    const reads = trace.reads
      .filter(({ value }) => needed.has(value))
      .map((read) => this.#variableValue(read, beforePrefix));
    const writes = trace.writes
      .filter(({ value }) => !overwritten.has(value))
      .map((write) => this.#variableValue(write, afterPrefix));
    const rowWrites = trace.writes.flatMap((write) => {
      const overwrite = overwritten.get(write.value);
      return overwrite === undefined ? [] : [rowWrite(write, this.#index(write.variable), overwrite)];
    });
    const ports = {
      id: this.#programs++,
      name,
      inputs: inputs.map(port),
      outputs: outputs.map(port),
      writes: writes.map(variablePort),
      overwrites: rowWrites.map(({ overwrite }) => overwrite),
    };
    if (writes.length > 0 && rowWrites.length === 0 && inputs.length > 0) {
      const { state, fixed } = splitState(reads, writes);
      return {
        ...ports,
        model: encodeRepeated({ name, inputs, outputs, state, fixed }),
        isRepeated: true,
        reads: [...state.map(({ before }) => before), ...fixed].map(variablePort),
      };
    }
    // Variables overwritten at the same indices share the output that holds the indices.
    const modelOutputs = new Map(
      [...outputs, ...writes, ...rowWrites.flatMap(({ values }) => values)].map((entry) => [
        entry.name,
        entry,
      ]),
    );
    return {
      ...ports,
      model: encodeModel(
        { name, inputs: [...inputs, ...reads], outputs: [...modelOutputs.values()] },
        { contributed: true },
      ),
      isRepeated: false,
      reads: reads.map(variablePort),
    };
  }

  #variableValue({ variable, value }: VariableValue, prefix: string): NamedVariableValue {
    return { name: `${prefix}${variable.name}`, value, variable: this.#index(variable) };
  }
}

/** A variable's value as an input or output of a model. */
interface NamedVariableValue extends NamedValue {
  readonly variable: number;
}

const inputPrefix = 'in/';
const outputPrefix = 'out/';
const beforePrefix = 'before/';
const afterPrefix = 'after/';
const inputName = (name: string): string => name.slice(inputPrefix.length);
const outputName = (name: string): string => name.slice(outputPrefix.length);

function port({ name, value }: { name: string; value: Value }): Port {
  const type: TensorType['type'] = value.type === 'float32' ? 'float32' : 'int32';
  return { name, type, shape: value.shape };
}

function variablePort(entry: NamedVariableValue): VariablePort {
  return { ...port(entry), variable: entry.variable };
}

/** The variables that a call changes, with their value before and after it, and those that it only reads. */
function splitState(reads: readonly NamedVariableValue[], writes: readonly NamedVariableValue[]) {
  const before = new Map(reads.map((read) => [read.variable, read]));
  const state = writes.map((after) => ({ before: before.get(after.variable) ?? unread(after), after }));
  for (const { variable } of writes) before.delete(variable);
  return { state, fixed: [...before.values()] };
}

/** The value before a call of a variable that the call assigns to without reading it. */
function unread({ name: after, value: { type, shape }, variable }: NamedVariableValue): NamedVariableValue {
  const name = `${beforePrefix}${after.slice(afterPrefix.length)}`;
  return { name, value: { name, type, shape }, variable };
}

/** The two model outputs of a variable that is overwritten in rows, and where they go. */
function rowWrite({ variable: { name } }: VariableValue, variable: number, { indices, updates }: Overwrite) {
  const values = [
    { name: `indices/${indices.name}`, value: indices },
    { name: `rows/${name}`, value: updates },
  ] as const;
  const overwrite: VariableOverwrite = { variable, indices: port(values[0]), updates: port(values[1]) };
  return { values, overwrite };
}

function changes({ reads, writes }: Trace): readonly Change[] {
  const before = new Map(reads.map(({ variable, value }) => [variable, value]));
  return writes
    .filter(({ variable }) => before.has(variable))
    .map(({ variable, value }) => ({ before: before.get(variable)!, after: value }));
}

/** A rough estimate of the number of floating-point operations in a trace. */
function countOperations(trace: Trace): number {
  return operationsOf([...trace.outputs, ...trace.writes].map(({ value }) => value));
}

function operationsOf(values: readonly Value[], known?: ReadonlySet<Value>): number {
  let count = 0;
  for (const { operator, inputs, outputs, body } of reachable(values, known).nodes) {
    if (body !== undefined) {
      const parts = inputs.at(-1)!.shape[0]!;
      count += parts * operationsOf(body.outputs, new Set(body.captured));
      continue;
    }
    const size = sizeOf(outputs[0]!.shape);
    const inner =
      operator === 'MatMul' || operator === 'Gemm'
        ? sizeOf(inputs[0]!.shape) / sizeOf(outputs[0]!.shape.slice(0, -1))
        : 1;
    count += 2 * size * inner;
  }
  return count;
}
