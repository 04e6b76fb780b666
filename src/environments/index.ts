/**
 * `pmpo/environments`: the Environment interface, and vector environments, which flatten and scale several environments of one
 * kind for a learner. Environments over the network are in `pmpo/dm-env-rpc`.
 */

export type { ReconnectSettings, Sleep } from '../core/backoff.js';
export { ConnectionLostError, OutOfStepError, RequestFailedError } from '../core/errors.js';
export { createVectorEnvironment, type VectorEnvironmentOptions } from './create-vector-environment.js';
export type {
  DType,
  DTypeArrays,
  Environment,
  NamedSpecs,
  NamedTensorValues,
  NumericDType,
  PackedMessage,
  Reset,
  Step,
  TensorData,
  TensorSpec,
  TensorValue,
} from './environment.js';
export { type ActionScaler, type ScaleOptions, scaleActions } from './flatten.js';
export {
  type ByteRange,
  type FlattenOptions,
  flattenObservations,
  type ObservationFlattener,
  type ObservationPart,
} from './observation-layout.js';
export { emptyData } from './tensor-data.js';
export type {
  OpenEpisode,
  VectorEnvironment,
  VectorReset,
  VectorStep,
} from './vector-environment.js';
