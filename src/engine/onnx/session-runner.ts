import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { sizeOf } from '../../core/shape.js';
import type { Numbers, Port, Program, Request, SessionSettings, TensorType } from './program.js';
import { loadRuntime } from './runtime.js';
import { scatterRows } from './scatter.js';

// The package is CommonJS, and this module is also loaded in a worker thread.
const runtime = loadRuntime();

interface Loaded {
  readonly program: Program;
  readonly session: InferenceSession;
}

function allocate({ type, shape }: TensorType): Tensor {
  const size = sizeOf(shape);
  return type === 'float32'
    ? new runtime.Tensor('float32', new Float32Array(size), shape)
    : new runtime.Tensor('int32', new Int32Array(size), shape);
}

function wrap(data: Numbers, shape: readonly number[]): Tensor {
  return data instanceof Float32Array
    ? new runtime.Tensor('float32', data, shape)
    : new runtime.Tensor('int32', data, shape);
}

/** The values of a tensor; no program has outputs of another type. */
function numbersOf({ data }: Tensor): Numbers {
  if (data instanceof Float32Array || data instanceof Int32Array) return data;
  throw new Error(`a model has an output of ${data.constructor.name}`);
}

/**
 * Runs models on ONNX Runtime and keeps the variables between runs. Each variable has two buffers: a run reads one and writes
 * the other, then they are swapped. A variable in which only some rows are overwritten keeps its buffer and is not an output of
 * the model, because onnxruntime-node copies every output, even if it is given the memory. Requests must be made one at a time.
 */
export class SessionRunner {
  readonly #settings: SessionSettings;
  readonly #programs = new Map<number, Loaded>();
  readonly #variables = new Map<number, Tensor>();
  readonly #spares = new Map<number, Tensor>();

  constructor(settings: SessionSettings) {
    this.#settings = settings;
  }

  /** @returns the requested arrays, which the caller then owns. */
  async handle(request: Request): Promise<readonly Numbers[]> {
    switch (request.kind) {
      case 'load':
        await this.#load(request.program);
        return [];
      case 'run':
        return (await this.runCalls(request.program, [request.inputs]))[0]!;
      case 'unload':
        await this.#programs.get(request.program)?.session.release();
        this.#programs.delete(request.program);
        return [];
      case 'write':
        this.#variables.set(request.variable, wrap(request.data, request.type.shape));
        return [];
      case 'read':
        return request.variables.map((variable) => numbersOf(this.#variables.get(variable)!).slice());
      case 'close':
        for (const { session } of this.#programs.values()) {
          if (this.#settings.profilePrefix !== undefined) session.endProfiling();
          await session.release();
        }
        this.#programs.clear();
        return [];
    }
  }

  /** Whether one run may make several calls of the program. */
  isRepeated(program: number): boolean {
    return this.#programs.get(program)?.program.isRepeated ?? false;
  }

  /**
   * Makes calls of one program, one after another, in one run.
   * @param calls the inputs of each; one, unless the program is repeated.
   * @returns the outputs of each, which the caller then owns.
   */
  runCalls(
    program: number,
    calls: readonly (readonly Numbers[])[],
  ): Promise<readonly (readonly Numbers[])[]> {
    return this.#run(this.#programs.get(program)!, calls);
  }

  async #load(program: Program): Promise<void> {
    const { threads, executionProvider, spinMicroseconds, profilePrefix } = this.#settings;
    const session = await runtime.InferenceSession.create(program.model, {
      executionProviders: [executionProvider],
      graphOptimizationLevel: 'all',
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // Fatal errors only: other errors are thrown as well, and warnings are about details that a user cannot change.
      logSeverityLevel: 4,
      extra: {
        session: {
          // Flushing subnormals to zero would affect the threads of the pool but, except for the first session of a process,
          // not the calling thread, and results would depend on which thread computes which part.
          set_denormal_as_zero: '0',
          force_spinning_stop: '1',
          intra_op: {
            allow_spinning: spinMicroseconds > 0 ? '1' : '0',
            spin_duration_us: String(spinMicroseconds),
          },
        },
      },
      ...(profilePrefix === undefined
        ? {}
        : { enableProfiling: true, profileFilePrefix: `${profilePrefix}-${program.name}` }),
    });
    this.#programs.set(program.id, { program, session });
  }

  /** Makes calls of one program, in their order: several only of a repeated one. */
  async #run({ program, session }: Loaded, calls: readonly (readonly Numbers[])[]): Promise<Numbers[][]> {
    const ofCalls = <P extends Port>(port: P): P =>
      program.isRepeated ? { ...port, shape: [calls.length, ...port.shape] } : port;
    const feeds: Record<string, Tensor> = {};
    for (const [i, port] of program.inputs.entries()) {
      const data = joined(calls.map((inputs) => inputs[i]!));
      feeds[port.name] = wrap(data, ofCalls(port).shape);
    }
    for (const { name, variable } of program.reads) feeds[name] = this.#variables.get(variable)!;
    const fetches: Record<string, Tensor> = {};
    for (const port of program.outputs) fetches[port.name] = allocate(ofCalls(port));
    for (const port of program.writes) {
      fetches[port.name] = this.#spares.get(port.variable) ?? allocate(port);
    }
    for (const { indices, updates } of program.overwrites) {
      for (const port of [indices, updates]) fetches[port.name] ??= allocate(port);
    }
    await session.run(feeds, fetches);
    for (const { name, variable } of program.writes) {
      const previous = this.#variables.get(variable);
      if (previous === undefined) this.#spares.delete(variable);
      else this.#spares.set(variable, previous);
      this.#variables.set(variable, fetches[name]!);
    }
    const numbers = ({ name }: Port): Numbers => numbersOf(fetches[name]);
    for (const { variable, indices, updates } of program.overwrites) {
      const tensor = this.#variables.get(variable)!;
      const depth = indices.shape.at(-1)!;
      scatterRows(numbersOf(tensor), tensor.dims, numbers(indices), depth, numbers(updates));
    }
    const outputs = program.outputs.map((port) => split(numbers(port), calls.length));
    return calls.map((_, call) => outputs.map((parts) => parts[call]!));
  }
}

/** Arrays of one length and type as one; a single array is not copied. */
function joined(arrays: readonly Numbers[]): Numbers {
  const [first] = arrays;
  if (arrays.length === 1) return first!;
  const { length } = first!;
  const whole =
    first instanceof Float32Array
      ? new Float32Array(length * arrays.length)
      : new Int32Array(length * arrays.length);
  for (const [i, array] of arrays.entries()) whole.set(array, i * length);
  return whole;
}

/** An array as `count` of one length, each of which has its own memory. */
function split(whole: Numbers, count: number): Numbers[] {
  if (count === 1) return [whole];
  const length = whole.length / count;
  return Array.from({ length: count }, (_, i) => whole.slice(i * length, (i + 1) * length));
}
