import type { Scene } from '../core/scene.js';

/**
 * The element types of an environment's tensors, which are those of dm_env_rpc. All but `string` and `proto` have NumPy's names.
 * There is no float16: a simulator that computes in it must send float32, as pmpo's Python simulator server does.
 */
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

/** The dtypes whose elements are numbers, `bool` included. */
export type NumericDType = Exclude<DType, 'string' | 'proto'>;

/** The array that holds the elements of each dtype, in row-major order. */
export interface DTypeArrays {
  float32: Float32Array;
  float64: Float64Array;
  int8: Int8Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  /** 0 or 1. */
  bool: Uint8Array;
  string: string[];
  proto: PackedMessage[];
}

/** A protocol buffer message of any type: the URL of its type, and its bytes. */
export interface PackedMessage {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** The elements of a tensor, in row-major order. */
export type TensorData = DTypeArrays[DType];

/** A tensor: `data` has as many elements as `shape` asks for. */
export interface TensorValue<T extends DType = DType> {
  readonly dtype: T;
  /** [] for a scalar. */
  readonly shape: readonly number[];
  readonly data: DTypeArrays[T];
}

/** Tensors by name: an observation, or an action. */
export type NamedTensorValues = Readonly<Record<string, TensorValue>>;

/** The form and the bounds of one named observation or action. */
export interface TensorSpec {
  readonly name: string;
  /** −1 for an axis of any length. */
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** The smallest value allowed: one number for all elements, or one number each. Unbounded if absent. */
  readonly minimum?: number | readonly number[];
  /** The largest value allowed, in the same form. */
  readonly maximum?: number | readonly number[];
}

/** Specs by name; each key equals its spec's `name`. */
export type NamedSpecs = Readonly<Record<string, TensorSpec>>;

/** The result of a reset: the first observation of an episode. */
export interface Reset {
  readonly observation: NamedTensorValues;
  readonly info: Readonly<Record<string, unknown>>;
  /** The episode is over before its first step, in a terminal state: its return and its length are 0. Default: false. */
  readonly terminated?: boolean;
  /** The episode is over before its first step, without a terminal state. Default: false. */
  readonly truncated?: boolean;
}

/** The result of a step. */
export interface Step extends Reset {
  readonly reward: number;
  /**
   * d, by which the value of the observation counts: the target of this step is reward + γ·d·V(observation), however the episode
   * goes on. Default: 0 if `terminated`, otherwise 1. A number from 0 to 1.
   */
  readonly discount?: number;
  /** The episode ended in a terminal state. */
  readonly terminated: boolean;
  /** The episode was cut off, by a time limit or a lost connection. */
  readonly truncated: boolean;
}

/**
 * An environment in Gymnasium's manner, with dictionaries of typed tensors as observations and actions. It may run in this
 * process or anywhere else.
 */
export interface Environment {
  /** Where it runs, for messages: an address and a world. */
  readonly where?: string;
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  /**
   * Starts an episode. The same seed followed by the same actions gives the same episode; without a seed, the environment
   * chooses one.
   * @throws RequestFailedError if the simulator fails. Another reset may succeed.
   */
  reset(options?: { readonly seed?: number }): Promise<Reset>;
  /**
   * Takes an action in the open episode.
   * @throws PmpoError before the first reset, after the end of an episode, and for an action that does not fit `actionSpec`;
   *   RequestFailedError if the simulator fails, which ends the episode.
   */
  step(action: NamedTensorValues): Promise<Step>;
  /**
   * Resolves once the results of all steps so far are known to be those of their actions, as far as the environment can find out. It
   * may be called during a step. Environments that cannot mistake one result for another do without.
   * @throws OutOfStepError if results may have been taken for those of other actions.
   */
  verifySteps?(): Promise<void>;
  /**
   * The geoms of the simulator, for drawing; undefined if it does not tell them. Only drawing calls it.
   */
  scene?(): Promise<Scene | undefined>;
  /**
   * The poses of the scene's bodies in the state after the last reset or step that was called, [B, 7] (core/scene.ts). The next reset
   * or step may be called before the answer is there.
   */
  poses?(): Promise<Float32Array>;
  /** Releases what the environment holds. It cannot be used afterwards. */
  close(): Promise<void>;
}
