import type { BackendValues, DataType, TensorInfo } from '@tensorflow/tfjs-core';
import { PmpoError } from '../../core/errors.js';
import { sizeOf } from '../../core/shape.js';
import type { FusingBackend } from '../fused.js';
import type { PartFunction, PartsBackend, PartTensors } from '../parts.js';
import { traceBackendName } from '../scope.js';
import type { Tensor, Variable } from '../tensors.js';
import * as tf from '../tf.js';
import type { ConstantData, Graph, Value, ValueType } from './graph.js';
import { scanParts } from './scan-parts.js';

/**
 * A TensorFlow.js backend whose tensors have no numbers, only graph values. Its kernels, registered by the files `kernels-*`,
 * append nodes to the graph.
 */

interface Entry {
  /** The graph value, for tensors made while tracing. */
  readonly value?: Value;
  /** Numbers written outside of a trace; they become a constant in every graph that reads them. */
  readonly host?: HostData;
  /** For the placeholder of a variable: the name of the variable. The entry lives as long as the variable. */
  readonly variable?: string;
  /** The kernel that made the tensor, for error messages. */
  readonly kernel?: string;
  references: number;
}

interface HostData {
  readonly data: ConstantData;
  readonly type: ValueType;
  readonly shape: readonly number[];
}

/** A trace in progress. */
interface Recording {
  readonly graph: Graph;
  readonly functionName: string;
  /** The graph values of tensors that are older than the trace: variables are inputs, other tensors constants. */
  readonly imported: Map<Entry, Value>;
  /** Called with every variable that a kernel is given. */
  readonly claim: (variable: Variable) => void;
  /** The tensors made by the trace; they are discarded with it. */
  readonly made: object[];
}

/** The element types of TensorFlow.js tensors that can be traced. */
export type TensorValueType = Exclude<ValueType, 'int64'>;

/** @throws PmpoError when tensors of this dtype cannot be traced. */
export function valueType(dtype: DataType): TensorValueType {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw new PmpoError({
    what: `tensors of dtype ${dtype} cannot be traced`,
    where: 'engine onnx',
    remedy: 'Use float32, int32 or bool',
  });
}

const arrays = { float32: Float32Array, int32: Int32Array, bool: Uint8Array } as const;

export class TracingBackend extends tf.KernelBackend implements PartsBackend, FusingBackend {
  readonly #entries = new Map<object, Entry>();
  #recording: Recording | undefined;
  #isInPart = false;

  /** Runs `body` and appends the nodes of its operations to `graph`. The tensors that it makes are invalid afterwards. */
  record<R>(graph: Graph, functionName: string, claim: (variable: Variable) => void, body: () => R): R {
    if (this.#recording !== undefined) {
      throw new PmpoError({
        where: `tracing '${functionName}'`,
        what: `it was started inside of '${this.#recording.functionName}'`,
        remedy: 'Call the function itself there, not its compiled form',
      });
    }
    this.#recording = { graph, functionName, claim, imported: new Map(), made: [] };
    try {
      return body();
    } finally {
      for (const dataId of this.#recording.made) this.#entries.delete(dataId);
      this.#recording = undefined;
    }
  }

  get #current(): Recording {
    if (this.#recording !== undefined) return this.#recording;
    throw new PmpoError({
      what: 'a tensor operation ran on a variable of this engine outside of a compiled function',
      where: 'engine onnx',
      remedy: 'Use it inside engine.jit, or compute with the values that engine.read returns',
    });
  }

  get functionName(): string {
    return this.#current.functionName;
  }

  get graph(): Graph {
    return this.#current.graph;
  }

  /** Tells the engine that traces about a variable, so that it can make the variable its own. */
  claim(variable: Variable): void {
    this.#current.claim(variable);
  }

  /** Whether a tensor was made by the trace in progress. */
  isTraced(dataId: object): boolean {
    return this.#entries.get(dataId)?.value !== undefined;
  }

  /** Whether a tensor is the placeholder of a variable, of this engine or another. */
  isPlaceholder(dataId: object): boolean {
    return this.#entries.get(dataId)?.variable !== undefined;
  }

  has(dataId: object): boolean {
    return this.#entries.has(dataId);
  }

  /** The graph value behind a tensor. */
  graphValue({ dataId }: { readonly dataId: object }): Value {
    const entry = this.#entries.get(dataId);
    if (entry === undefined) {
      throw new PmpoError({
        where: `tracing '${this.functionName}'`,
        what: 'it uses a tensor that an earlier trace made, or that has been disposed of',
        remedy: 'Keep values that live between calls in variables',
      });
    }
    if (entry.value !== undefined) return entry.value;
    const { imported, graph } = this.#current;
    let value = imported.get(entry);
    if (value === undefined) {
      const { data, type, shape } = entry.host!;
      value =
        entry.variable === undefined
          ? graph.constant(type, shape, data)
          : graph.input(`variable/${entry.variable}`, type, shape);
      imported.set(entry, value);
    }
    return value;
  }

  /** The graph input for a variable's value at the start of the call; undefined if the trace has not used it. */
  importedVariable(placeholder: object): Value | undefined {
    return this.#current.imported.get(this.#entries.get(placeholder)!);
  }

  /** A new tensor that represents a graph value. */
  wrap(value: Value, kernel?: string): TensorInfo {
    const dataId = this.#add({ value, kernel, references: 1 });
    this.#current.made.push(dataId);
    return { dataId, shape: [...value.shape], dtype: value.type as DataType };
  }

  get canFuse(): boolean {
    return this.graph.contributed;
  }

  /** See `overParts` in ../parts.ts. */
  overParts(inputs: readonly Tensor[], parts: number, fn: PartFunction): PartTensors {
    // A part is not divided again.
    if (this.graph.openLengths || this.#isInPart) return fn(inputs);
    const tensorOf = (value: Value) => tf.engine().makeTensorFromTensorInfo(this.wrap(value, 'overParts'));
    const build = (part: readonly Value[]) => {
      const { sums, rows } = fn(part.map(tensorOf));
      const inGraph = (tensor: Tensor) => this.graphValue(tensor);
      return { sums: sums.map(inGraph), rows: rows.map(inGraph) };
    };
    this.#isInPart = true;
    try {
      const whole = scanParts(
        this.graph,
        inputs.map((tensor) => this.graphValue(tensor)),
        parts,
        build,
      );
      return { sums: whole.sums.map(tensorOf), rows: whole.rows.map(tensorOf) };
    } finally {
      this.#isInPart = false;
    }
  }

  /** A new placeholder of a variable; see Tracer. */
  addPlaceholder(variable: string, type: TensorValueType, shape: readonly number[]): object {
    return this.#add({
      variable,
      host: { data: new arrays[type](0), type, shape: [...shape] },
      references: 1,
    });
  }

  removePlaceholder(placeholder: object): void {
    this.#entries.delete(placeholder);
  }

  #add(entry: Entry): object {
    const dataId = {};
    this.#entries.set(dataId, entry);
    return dataId;
  }

  #hostData(values: BackendValues, shape: readonly number[], dtype: DataType): HostData {
    const type = valueType(dtype);
    const data = new arrays[type](sizeOf(shape));
    // TensorFlow.js makes empty tensors without values.
    if (values !== undefined && values !== null) data.set(values as Float32Array);
    return { data, type, shape: [...shape] };
  }

  override write(values: BackendValues, shape: number[], dtype: DataType): object {
    return this.#add({ host: this.#hostData(values, shape, dtype), references: 1 });
  }

  override move(
    dataId: object,
    values: BackendValues,
    shape: number[],
    dtype: DataType,
    count: number,
  ): void {
    this.#entries.set(dataId, { host: this.#hostData(values, shape, dtype), references: count });
  }

  override readSync(dataId: object): BackendValues {
    const entry = this.#entries.get(dataId);
    if (entry?.variable !== undefined) {
      throw new PmpoError({
        where: `variable '${entry.variable}'`,
        what: `its value was read ${this.#recording === undefined ? 'outside of its engine' : `while '${this.functionName}' was traced`}`,
        remedy: 'Read it with engine.read',
      });
    }
    // Constants are known while tracing; TensorFlow.js itself reads some, such as the value of a fill.
    if (entry?.host !== undefined) return entry.host.data as BackendValues;
    throw new PmpoError({
      where: `tracing '${this.#recording?.functionName ?? 'a finished function'}'`,
      what: `the result of ${entry?.kernel ?? 'an operation'} was read (dataSync, data, array, print), but tensors have no values while tracing`,
      remedy:
        'Express the decision with tensor operations (tf.where), or return the tensor and read the result',
    });
  }

  override async read(dataId: object): Promise<BackendValues> {
    return this.readSync(dataId);
  }

  override refCount(dataId: object): number {
    return this.#entries.get(dataId)?.references ?? 0;
  }

  override incRef(dataId: object): void {
    const entry = this.#entries.get(dataId);
    if (entry !== undefined) entry.references += 1;
  }

  override disposeData(dataId: object, force = false): boolean {
    const entry = this.#entries.get(dataId);
    if (entry === undefined) return true;
    if (entry.variable !== undefined) return false;
    entry.references -= 1;
    if (!force && entry.references > 0) return false;
    this.#entries.delete(dataId);
    return true;
  }

  override numDataIds(): number {
    return this.#entries.size;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override timerAvailable(): boolean {
    return false;
  }

  override dispose(): void {
    this.#entries.clear();
  }
}

let backend: TracingBackend | undefined;

/** The tracing backend of this process, registered with TensorFlow.js at the first call. */
export function tracingBackend(registerKernels: () => void): TracingBackend {
  if (backend === undefined) {
    const made = new TracingBackend();
    tf.registerBackend(traceBackendName, () => made, 0);
    registerKernels();
    backend = made;
  }
  return backend;
}
