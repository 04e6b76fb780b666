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

/** The names of all engines, in the order in which `auto` prefers them. */
export const engineNames = ['onnx', 'tfjs-node-gpu', 'tfjs-node', 'wasm', 'cpu'] as const;
/** The backend of an engine: ONNX Runtime, or one of TensorFlow.js' backends. */
export type EngineName = (typeof engineNames)[number];

/**
 * A compiled function; `I` and `O` are the types of its inputs and results, objects of tensors.
 *
 * `run` may be called again before an earlier call has ended. Each call sees the variables as the calls made before it leave
 * them, and may overlap calls that do not change the variables it reads. The engine onnx makes calls of one function that wait for one
 * another together, which is faster and gives the same bits. Inputs are copied when `run` is called.
 */
export interface Compiled<I = NamedTensors, O = NamedTensors> {
  /**
   * @param inputs a host tensor for each name in `I`. Shapes may differ from call to call; element types may not.
   * @returns the function's results by name, as copies.
   * @throws PmpoError when an input is missing, unknown, of another element type than in the first call, or does not fill its
   *   shape; when a result is int32 without `int32Result`; when the function asks for unseeded random numbers; and when it
   *   cannot be traced (onnx): the message names the operation.
   */
  run(inputs: HostInputs<I>): Promise<HostResults<O>>;
  /** Frees what was compiled. `run` throws from then on. */
  dispose(): void;
}

/** A compiled function whose names the type system does not know. Engines make these; `jit` declares their types. */
export interface UntypedCompiled {
  run(inputs: NamedHostTensors): Promise<NamedHostTensors>;
  dispose(): void;
}

/**
 * Runs TensorFlow.js functions of named tensors and variables. A variable belongs to the engine that made it; all functions
 * compiled by this engine may read it and assign to it, directly or through a `tf` optimizer.
 */
export interface Engine {
  readonly name: EngineName;
  /**
   * A trainable variable with the shape, element type and value of `initial`.
   * @throws PmpoError when this engine has a variable of that name, or the data do not fill the shape.
   */
  variable(name: string, initial: HostTensor): Variable;
  /**
   * Compiles `fn`, from an object of tensors to an object of tensors:
   *
   *     engine.jit('loss', ({ x, target }: { x: Tensor2D; target: Tensor1D }) => ({ loss: … }))
   *
   * The engine `onnx` traces `fn` at the first run of each combination of input shapes; the others run it each time. Whatever
   * in it is not a tensor operation then happens once per trace: values that change from call to call, random numbers
   * included, must be inputs, and values that live from call to call must be variables.
   *
   * @param name appears in messages; it need not be unique.
   */
  jit<I extends TensorFields<I> = NamedTensors, O extends TensorFields<O> = NamedTensors>(
    name: string,
    fn: (inputs: I) => O,
  ): Compiled<I, O>;
  /**
   * The values of variables after all calls made so far.
   * @throws PmpoError when a variable belongs to another engine.
   */
  read(variables: readonly Variable[]): Promise<HostTensor[]>;
  /**
   * Sets a variable's value after all calls made so far.
   * @throws PmpoError when the variable belongs to another engine or has another shape.
   */
  write(variable: Variable, value: HostTensor): Promise<void>;
  /**
   * Writes `fn` as an ONNX model, with the current values of its variables as constants.
   *
   * @param inputs the shape of each input; all inputs are float32.
   * @param dynamicBatch leaves the first axis of every input open.
   * @returns the bytes of the model (operator set 18).
   * @throws PmpoError when `fn` assigns to a variable, or with `dynamicBatch` if a constant of the graph depends on the batch size
   *   in another way than by a power of it.
   */
  exportOnnx<I extends TensorFields<I> = NamedTensors, O extends TensorFields<O> = NamedTensors>(
    name: string,
    fn: (inputs: I) => O,
    inputs: InputShapes<NoInfer<I>>,
    dynamicBatch?: boolean,
  ): Promise<Uint8Array>;
  /** Waits for calls in progress and frees variables and compiled functions. */
  dispose(): Promise<void>;
}
