/** What the tracer's side and the side that runs graphs (often another thread) tell one another. */

/** Numbers as they cross threads. Booleans never do. */
export type Numbers = Float32Array | Int32Array;

export interface TensorType {
  readonly type: 'float32' | 'int32';
  readonly shape: readonly number[];
}

/** A tensor at a model's border. */
export interface Port extends TensorType {
  /** Its name in the model. */
  readonly name: string;
}

/** A variable that enters or leaves a model. */
export interface VariablePort extends Port {
  readonly variable: number;
}

/** A variable of which places are overwritten after a run. */
export interface VariableOverwrite {
  readonly variable: number;
  /** Where: an output of the model, [.., depth], int32. */
  readonly indices: Port;
  /** What stands there: an output of the model, [.., ..the axes behind the first `depth` of the variable]. */
  readonly updates: Port;
}

/** A model and what its inputs and outputs are. */
export interface Program {
  readonly id: number;
  /** The traced function's name, for messages. */
  readonly name: string;
  readonly model: Uint8Array;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly reads: readonly VariablePort[];
  readonly writes: readonly VariablePort[];
  readonly overwrites: readonly VariableOverwrite[];
}

/** The variables that a run changes. */
export function changedVariables({ writes, overwrites }: Program): readonly number[] {
  return [...writes, ...overwrites].map(({ variable }) => variable);
}

/** Settings of every session of an engine. */
export interface SessionSettings {
  readonly threads: number;
  readonly executionProvider: 'cpu' | 'cuda';
  /** How long a thread that waits for the others of its run keeps its core busy; 0: it sleeps at once. */
  readonly spinMicroseconds: number;
  /** Where to write ONNX Runtime's profile, for finding out where time goes. */
  readonly profilePrefix?: string;
}

export type Request =
  | { readonly kind: 'load'; readonly program: Program }
  | { readonly kind: 'run'; readonly program: number; readonly inputs: readonly Numbers[] }
  | { readonly kind: 'unload'; readonly program: number }
  | {
      readonly kind: 'write';
      readonly variable: number;
      readonly type: TensorType;
      readonly data: Numbers;
    }
  | { readonly kind: 'read'; readonly variables: readonly number[] }
  | { readonly kind: 'close' };

export interface NumberedRequest {
  readonly sequence: number;
  readonly request: Request;
}

/** The answer to one request: its arrays, or why it failed. */
export interface Reply {
  readonly sequence: number;
  readonly arrays?: readonly Numbers[];
  readonly error?: string;
}
