import type {
  HostInputs,
  HostResults,
  HostTensor,
  InputShapes,
  NamedHostTensors,
  NamedTensors,
  TensorFields,
  Variable,
} from './tensors.js';

/** Which machinery runs compiled functions. */
export const engineNames = ['onnx', 'tfjs-node-gpu', 'tfjs-node', 'wasm', 'cpu'] as const;
export type EngineName = (typeof engineNames)[number];

/**
 * A function compiled by an engine. `run` may be called again before the last call has ended: each call sees the variables
 * as the calls made before it left them, and may overlap those that change nothing it reads. Inputs are copied at once.
 */
export interface Compiled<I = NamedTensors, O = NamedTensors> {
  /**
   * @returns the function's named results, copied out.
   * @throws PmpoError when an input is missing or of another dtype, or a result is int32 without being declared so
   *   (`int32Result`).
   */
  run(inputs: HostInputs<I>): Promise<HostResults<O>>;
  dispose(): void;
}

/** A compiled function whose names the type system does not know: what engines make, for `jit` to give types to. */
export interface UntypedCompiled {
  run(inputs: NamedHostTensors): Promise<NamedHostTensors>;
  dispose(): void;
}

/**
 * Runs TensorFlow.js functions of named tensors and variables. A variable belongs to the engine that made it; functions
 * compiled by the same engine share it, read it, and assign to it (directly or through a `tf` optimizer).
 */
export interface Engine {
  readonly name: EngineName;
  /** A trainable variable with a name unique in this engine. */
  variable(name: string, initial: HostTensor): Variable;
  /**
   * Compiles `fn`: traced at the first run of each input shape (onnx), or run eagerly each time (the others). Where it is
   * traced, everything in it that is not a tensor operation happens once per shape, so random numbers and whatever else
   * changes come in as inputs (asking for unseeded random numbers is an error), and what lives from call to call is a
   * variable.
   */
  jit<I extends TensorFields<I> = NamedTensors, O extends TensorFields<O> = NamedTensors>(
    name: string,
    fn: (inputs: I) => O,
  ): Compiled<I, O>;
  /** The current values of variables. Waits for calls under way. */
  read(variables: readonly Variable[]): Promise<HostTensor[]>;
  /** Sets a variable's value. Waits for calls under way. @throws PmpoError when the shape differs. */
  write(variable: Variable, value: HostTensor): Promise<void>;
  /**
   * The function with the variables' present values folded in, as the bytes of an ONNX model with float32 inputs of the
   * given shapes; with `dynamicBatch` the first axis of every input is left open.
   * @throws PmpoError when the function assigns to a variable, or needs the size of a batch that is to be left open.
   */
  exportOnnx<I extends TensorFields<I> = NamedTensors, O extends TensorFields<O> = NamedTensors>(
    name: string,
    fn: (inputs: I) => O,
    inputs: InputShapes<NoInfer<I>>,
    dynamicBatch?: boolean,
  ): Promise<Uint8Array>;
  dispose(): Promise<void>;
}
