/** The element types of tensors that cross an environment's border; the names of dm_env_rpc's data types in lower case. */
export type DType =
  | 'float32'
  | 'float64'
  | 'int8'
  | 'int32'
  | 'int64'
  | 'uint8'
  | 'uint32'
  | 'uint64'
  | 'bool'
  | 'string'
  | 'proto';

/** Row-major values of each dtype. `bool` is 0 or 1. */
export interface DTypeArrays {
  float32: Float32Array;
  float64: Float64Array;
  int8: Int8Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
  string: string[];
  /** Packed protocol buffer messages. */
  proto: PackedMessage[];
}

/** A protocol buffer message of any type: its type's URL and its bytes. */
export interface PackedMessage {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}
export type TensorData = DTypeArrays[DType];

const emptyArrays: { readonly [T in DType]: (size: number) => DTypeArrays[T] } = {
  float32: (size) => new Float32Array(size),
  float64: (size) => new Float64Array(size),
  int8: (size) => new Int8Array(size),
  int32: (size) => new Int32Array(size),
  int64: (size) => new BigInt64Array(size),
  uint8: (size) => new Uint8Array(size),
  uint32: (size) => new Uint32Array(size),
  uint64: (size) => new BigUint64Array(size),
  bool: (size) => new Uint8Array(size),
  string: (size) => Array<string>(size).fill(''),
  proto: (size) => Array<PackedMessage>(size).fill({ typeUrl: '', value: new Uint8Array() }),
};

/** An array of `size` elements of a dtype: zeros, false, or empty. */
export function emptyData<T extends DType>(dtype: T, size: number): DTypeArrays[T] {
  return emptyArrays[dtype](size);
}

export interface TensorValue<T extends DType = DType> {
  readonly dtype: T;
  /** [] for a scalar. */
  readonly shape: readonly number[];
  readonly data: DTypeArrays[T];
}
export type NamedTensorValues = Readonly<Record<string, TensorValue>>;

/** What one named observation or action looks like. */
export interface TensorSpec {
  readonly name: string;
  /** −1 for an axis of any length. */
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Inclusive bounds: one number for all elements, or one each. Absent: unbounded. */
  readonly minimum?: number | readonly number[];
  readonly maximum?: number | readonly number[];
}
export type NamedSpecs = Readonly<Record<string, TensorSpec>>;

export interface Reset {
  readonly observation: NamedTensorValues;
  readonly info: Readonly<Record<string, unknown>>;
}

export interface Step extends Reset {
  readonly reward: number;
  /** The episode ended in a terminal state: nothing follows, the value there is 0. */
  readonly terminated: boolean;
  /** The episode was cut (time limit, lost connection): the value of the last observation still counts. */
  readonly truncated: boolean;
}

/** One world, gym-like, with typed dictionary observations and actions. Knows nothing of how it is reached. */
export interface Environment {
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  /** Starts an episode. The same seed gives the same episode for the same actions; without one, the world chooses. */
  reset(options?: { readonly seed?: number }): Promise<Reset>;
  /** @throws PmpoError before the first reset, after an episode's end, and for actions outside the spec. */
  step(action: NamedTensorValues): Promise<Step>;
  close(): Promise<void>;
}
