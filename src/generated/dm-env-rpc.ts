// Generated from proto/dm_env_rpc/v1/dm_env_rpc.proto and proto/dm_env_rpc/v1/extensions/properties.proto by `npm run generate`. Do not edit.

/** A 64-bit integer as protobufjs reads it (an object), or as it may be written. */
export type Int64 =
  | number
  | string
  | { readonly low: number; readonly high: number; readonly unsigned: boolean };

/**
 * A tensor: a shape, and its elements in row-major order.
 * At most one is present: floats, doubles, int8s, int32s, int64s, uint8s, uint32s, uint64s, bools, strings, protos.
 */
export interface Tensor {
  readonly floats?: TensorFloatArray | null;
  readonly doubles?: TensorDoubleArray | null;
  readonly int8s?: TensorInt8Array | null;
  readonly int32s?: TensorInt32Array | null;
  readonly int64s?: TensorInt64Array | null;
  readonly uint8s?: TensorUint8Array | null;
  readonly uint32s?: TensorUint32Array | null;
  readonly uint64s?: TensorUint64Array | null;
  readonly bools?: TensorBoolArray | null;
  readonly strings?: TensorStringArray | null;
  readonly protos?: TensorProtoArray | null;
  /** Empty for a scalar. One axis may be negative: its length follows from the payload. */
  readonly shape?: readonly number[] | Int32Array;
}

/** 8-bit integers are sent as bytes, because a negative varint takes ten. */
export interface TensorInt8Array {
  readonly array?: Uint8Array;
}

export interface TensorInt32Array {
  readonly array?: readonly number[] | Int32Array;
}

export interface TensorInt64Array {
  readonly array?: readonly Int64[];
}

export interface TensorUint8Array {
  readonly array?: Uint8Array;
}

export interface TensorUint32Array {
  readonly array?: readonly number[] | Uint32Array;
}

export interface TensorUint64Array {
  readonly array?: readonly Int64[];
}

export interface TensorFloatArray {
  readonly array?: readonly number[] | Float32Array;
}

export interface TensorDoubleArray {
  readonly array?: readonly number[] | Float64Array;
}

export interface TensorBoolArray {
  readonly array?: readonly boolean[];
}

export interface TensorStringArray {
  readonly array?: readonly string[];
}

export interface TensorProtoArray {
  readonly array?: readonly Any[];
}

/** The numbers of an enum. */
export interface DataType {
  readonly INVALID_DATA_TYPE: 0;
  readonly FLOAT: 1;
  readonly DOUBLE: 2;
  readonly INT8: 3;
  readonly INT32: 4;
  readonly INT64: 5;
  readonly UINT8: 6;
  readonly UINT32: 7;
  readonly UINT64: 8;
  readonly BOOL: 9;
  readonly STRING: 10;
  readonly PROTO: 11;
}

/** The form and the bounds of one observation or action. */
export interface TensorSpec {
  readonly name?: string;
  readonly shape?: readonly number[] | Int32Array;
  readonly dtype?: number;
  readonly min?: TensorSpecValue | null;
  readonly max?: TensorSpecValue | null;
}

/**
 * A bound: one value for all elements, or one value each.
 * At most one is present: floats, doubles, int8s, int32s, int64s, uint8s, uint32s, uint64s.
 */
export interface TensorSpecValue {
  readonly floats?: TensorFloatArray | null;
  readonly doubles?: TensorDoubleArray | null;
  readonly int8s?: TensorInt8Array | null;
  readonly int32s?: TensorInt32Array | null;
  readonly int64s?: TensorInt64Array | null;
  readonly uint8s?: TensorUint8Array | null;
  readonly uint32s?: TensorUint32Array | null;
  readonly uint64s?: TensorUint64Array | null;
}

/** Creates a world of the kind that the settings select. */
export interface CreateWorldRequest {
  readonly settings?: Readonly<Record<string, Tensor>>;
}

export interface CreateWorldResponse {
  readonly worldName?: string;
}

/** The actions and observations of the joined world, by the uids that steps use. */
export interface ActionObservationSpecs {
  readonly actions?: Readonly<Record<string, TensorSpec>>;
  readonly observations?: Readonly<Record<string, TensorSpec>>;
}

/** Makes this stream the agent of a world. A stream is in at most one world. */
export interface JoinWorldRequest {
  readonly worldName?: string;
  readonly settings?: Readonly<Record<string, Tensor>>;
}

export interface JoinWorldResponse {
  readonly specs?: ActionObservationSpecs | null;
}

/** The numbers of an enum. */
export interface EnvironmentStateType {
  readonly INVALID_ENVIRONMENT_STATE: 0;
  /** The episode continues. */
  readonly RUNNING: 1;
  /** The episode ended in a terminal state. */
  readonly TERMINATED: 2;
  /** The episode was cut off: by a time limit, or by a reset from another connection. */
  readonly INTERRUPTED: 3;
}

/** The first step of an episode ignores the actions and returns the first observation. */
export interface StepRequest {
  readonly actions?: Readonly<Record<string, Tensor>>;
  readonly requestedObservations?: readonly Int64[];
}

export interface StepResponse {
  readonly state?: number;
  readonly observations?: Readonly<Record<string, Tensor>>;
}

/** Ends the episode; the next step starts another one, from the setting `seed` if given. */
export interface ResetRequest {
  readonly settings?: Readonly<Record<string, Tensor>>;
}

export interface ResetResponse {
  readonly specs?: ActionObservationSpecs | null;
}

/** Ends the episode of any world, also of one that another stream has joined. */
export interface ResetWorldRequest {
  readonly worldName?: string;
  readonly settings?: Readonly<Record<string, Tensor>>;
}

export type ResetWorldResponse = Record<string, never>;

export type LeaveWorldRequest = Record<string, never>;

export type LeaveWorldResponse = Record<string, never>;

/** Destroys a world that no stream has joined. */
export interface DestroyWorldRequest {
  readonly worldName?: string;
}

export type DestroyWorldResponse = Record<string, never>;

/** At most one is present: createWorld, joinWorld, step, reset, resetWorld, leaveWorld, destroyWorld, extension. */
export interface EnvironmentRequest {
  readonly createWorld?: CreateWorldRequest | null;
  readonly joinWorld?: JoinWorldRequest | null;
  readonly step?: StepRequest | null;
  readonly reset?: ResetRequest | null;
  readonly resetWorld?: ResetWorldRequest | null;
  readonly leaveWorld?: LeaveWorldRequest | null;
  readonly destroyWorld?: DestroyWorldRequest | null;
  /** A message of an extension, such as properties.proto. */
  readonly extension?: Any | null;
}

/**
 * Responses arrive in the order of the requests.
 * At most one is present: createWorld, joinWorld, step, reset, resetWorld, leaveWorld, destroyWorld, extension, error.
 */
export interface EnvironmentResponse {
  readonly createWorld?: CreateWorldResponse | null;
  readonly joinWorld?: JoinWorldResponse | null;
  readonly step?: StepResponse | null;
  readonly reset?: ResetResponse | null;
  readonly resetWorld?: ResetWorldResponse | null;
  readonly leaveWorld?: LeaveWorldResponse | null;
  readonly destroyWorld?: DestroyWorldResponse | null;
  readonly extension?: Any | null;
  readonly error?: Status | null;
}

/** A service's methods, and the messages of each. */
export interface Environment {
  readonly Process: {
    readonly request: EnvironmentRequest;
    readonly response: EnvironmentResponse;
  };
}

export interface PropertySpec {
  readonly spec?: TensorSpec | null;
  readonly isReadable?: boolean;
  readonly isWritable?: boolean;
  /** Whether there are properties below this key. */
  readonly isListable?: boolean;
  readonly description?: string;
}

/** Lists the properties below a key. An empty key is the root. */
export interface ListPropertyRequest {
  readonly key?: string;
}

export interface ListPropertyResponse {
  readonly values?: readonly PropertySpec[];
}

export interface ReadPropertyRequest {
  readonly key?: string;
}

export interface ReadPropertyResponse {
  readonly value?: Tensor | null;
}

export interface WritePropertyRequest {
  readonly key?: string;
  readonly value?: Tensor | null;
}

export type WritePropertyResponse = Record<string, never>;

/** At most one is present: readProperty, writeProperty, listProperty. */
export interface PropertyRequest {
  readonly readProperty?: ReadPropertyRequest | null;
  readonly writeProperty?: WritePropertyRequest | null;
  readonly listProperty?: ListPropertyRequest | null;
}

/** At most one is present: readProperty, writeProperty, listProperty. */
export interface PropertyResponse {
  readonly readProperty?: ReadPropertyResponse | null;
  readonly writeProperty?: WritePropertyResponse | null;
  readonly listProperty?: ListPropertyResponse | null;
}

export interface Any {
  readonly type_url?: string;
  readonly value?: Uint8Array;
}

export interface Status {
  /** One of gRPC's status codes. */
  readonly code?: number;
  /** A message for developers, in English. */
  readonly message?: string;
  /** Further details in a form for programs. */
  readonly details?: readonly Any[];
}
