import { createRequire } from 'node:module';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { sizeOf } from '../../core/shape.js';
import type { Numbers, Port, Program, Request, SessionSettings, TensorType } from './program.js';
import { scatterRows } from './scatter.js';

// Its package is CommonJS, and this file is also the root of a worker thread.
const runtime = createRequire(import.meta.url)('onnxruntime-node') as typeof import('onnxruntime-node');

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

function wrap(data: Numbers, { type, shape }: TensorType): Tensor {
  return type === 'float32'
    ? new runtime.Tensor('float32', data as Float32Array, shape)
    : new runtime.Tensor('int32', data as Int32Array, shape);
}

/**
 * Runs models on ONNX Runtime and holds the variables between calls. Each variable has two buffers: a run reads one and
 * writes the other, then they change places. One that is only overwritten in places stays where it is, and is no output of the
 * model: onnxruntime-node copies every output once more, also those whose memory it is given. Requests must be made one after
 * another.
 */
export class SessionRunner {
  readonly #settings: SessionSettings;
  readonly #programs = new Map<number, Loaded>();
  readonly #variables = new Map<number, Tensor>();
  readonly #spares = new Map<number, Tensor>();

  constructor(settings: SessionSettings) {
    this.#settings = settings;
  }

  /** @returns the arrays asked for; none of them is used here any more. */
  async handle(request: Request): Promise<readonly Numbers[]> {
    switch (request.kind) {
      case 'load':
        await this.#load(request.program);
        return [];
      case 'run':
        return this.#run(this.#programs.get(request.program)!, request.inputs);
      case 'unload':
        await this.#programs.get(request.program)?.session.release();
        this.#programs.delete(request.program);
        return [];
      case 'write':
        this.#variables.set(request.variable, wrap(request.data, request.type));
        return [];
      case 'read':
        return request.variables.map((variable) => (this.#variables.get(variable)!.data as Numbers).slice());
      case 'close':
        for (const { session } of this.#programs.values()) {
          if (this.#settings.profilePrefix !== undefined) session.endProfiling();
          await session.release();
        }
        this.#programs.clear();
        return [];
    }
  }

  async #load(program: Program): Promise<void> {
    const { threads, executionProvider, spinMicroseconds, profilePrefix } = this.#settings;
    const session = await runtime.InferenceSession.create(program.model, {
      executionProviders: [executionProvider],
      graphOptimizationLevel: 'all',
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // Errors are thrown as well, and warnings tell of graph details that nobody can act on.
      logSeverityLevel: 4,
      extra: {
        session: {
          // Flushing subnormals would reach the threads of the pool but, save for a process' first session, not the one
          // that calls: results would then depend on which thread took which piece.
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

  async #run({ program, session }: Loaded, inputs: readonly Numbers[]): Promise<readonly Numbers[]> {
    const feeds: Record<string, Tensor> = {};
    for (const [i, port] of program.inputs.entries()) feeds[port.name] = wrap(inputs[i]!, port);
    for (const { name, variable } of program.reads) feeds[name] = this.#variables.get(variable)!;
    const fetches: Record<string, Tensor> = {};
    for (const port of program.outputs) fetches[port.name] = allocate(port);
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
    const numbers = ({ name }: Port): Numbers => fetches[name]!.data as Numbers;
    for (const { variable, indices, updates } of program.overwrites) {
      const { data, dims } = this.#variables.get(variable)!;
      const places = numbers(indices) as Int32Array;
      scatterRows(data as Numbers, dims, places, indices.shape.at(-1)!, numbers(updates));
    }
    return program.outputs.map(numbers);
  }
}
