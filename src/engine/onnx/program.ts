/** Messages between the engine and the session runner, which usually runs in another thread. */

/** The values of a tensor in a message. Booleans are sent as int32. */
export type Numbers = Float32Array | Int32Array;

export interface TensorType {
  readonly type: 'float32' | 'int32';
  readonly shape: readonly number[];
}

/** An input or output of a model. */
export interface Port extends TensorType {
  /** Its name in the model. */
  readonly name: string;
}

/** A variable as an input or output of a model. */
export interface VariablePort extends Port {
  readonly variable: number;
}

/** A variable in which a run overwrites some rows. */
export interface VariableOverwrite {
  readonly variable: number;
  /** The output of the model with the indices of the rows, [.., depth], int32. */
  readonly indices: Port;
  /** The output of the model with the new rows, [.., ..the axes of the variable after the first `depth`]. */
  readonly updates: Port;
}

/** A model with its inputs and outputs. */
export interface Program {
  readonly id: number;
  /** The name of the traced function, for messages. */
  readonly name: string;
  readonly model: Uint8Array;
  /**
   * Whether one run of the model may make several calls, one after another. Its inputs and outputs, except for variables, then have a
   * leading axis more than the ports, with an entry for each call.
   */
  readonly isRepeated: boolean;
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
  /** How long a thread of the pool spins while it waits for work before it sleeps; with 0 it sleeps at once. */
  readonly spinMicroseconds: number;
  /** Prefix of the files with ONNX Runtime's profile; no profile if undefined. */
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

/** The answer to a request: its arrays, or the error message. */
export interface Reply {
  readonly sequence: number;
  readonly arrays?: readonly Numbers[];
  readonly error?: string;
}
