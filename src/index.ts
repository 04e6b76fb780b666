/** The public face of the package: what programs and plugins import. Everything else is internal. */

export type { Config } from './config/control-schema.js';
export { configSchema } from './config/control-schema.js';
export type { LoadedConfig, ResolvedConfig } from './config/load.js';
export { configText, loadConfig, resolveConfig } from './config/load.js';
export type { PluginApi } from './config/plugins.js';
export { loadPlugins } from './config/plugins.js';
export type { ChatMessage } from './core/chat.js';
export { ConfigError, ConnectionLostError, PmpoError } from './core/errors.js';
export type { RandomKey } from './core/random-keys.js';
export { foldIn, randomKey } from './core/random-keys.js';
export { Registry } from './core/registry.js';
export { decodeSafetensors, encodeSafetensors } from './core/safetensors.js';
export { categoricalFamily } from './distributions/categorical.js';
export { createFamily } from './distributions/create.js';
export type { Distribution, DistributionFamily } from './distributions/distribution.js';
export { gaussian, gaussianFamily } from './distributions/gaussian.js';
export type { RemoteEnvironmentOptions } from './dm-env-rpc/client/remote-environment.js';
export { RemoteEnvironment } from './dm-env-rpc/client/remote-environment.js';
export type { SharedStreamsOptions } from './dm-env-rpc/client/shared-streams.js';
export { connectOverSharedStreams } from './dm-env-rpc/client/shared-streams.js';
export { DmEnvRpcError } from './dm-env-rpc/errors.js';
export type { EnvironmentServer, ServeEnvironmentsOptions } from './dm-env-rpc/server/serve-environments.js';
export { serveEnvironments } from './dm-env-rpc/server/serve-environments.js';
export type { Adam, AdamOptions } from './engine/adam.js';
export { createAdam } from './engine/adam.js';
export { createEngine } from './engine/create.js';
export { detectEngines } from './engine/detect.js';
export type { Compiled, Engine, EngineName } from './engine/engine.js';
export type { HostTensor, NamedHostTensors, NamedTensors, NamedVariables } from './engine/tensors.js';
export * as tf from './engine/tf.js';
export type { VectorEnvironmentOptions } from './environments/create-vector-environment.js';
export { createVectorEnvironment } from './environments/create-vector-environment.js';
export type {
  DType,
  Environment,
  NamedSpecs,
  NamedTensorValues,
  Reset,
  Step,
  TensorSpec,
  TensorValue,
} from './environments/environment.js';
export { flattenObservations, scaleActions } from './environments/flatten.js';
export type { VectorEnvironment, VectorStep } from './environments/vector-environment.js';
export type { RunResult } from './experiments/run-lifecycle.js';
export type { TrainRunOptions } from './experiments/train-run.js';
export { trainRun } from './experiments/train-run.js';
export type {
  Feedback,
  FeedbackClassifier,
  FeedbackDefinition,
  FeedbackInput,
  HostFeedback,
  HostFeedbackInput,
} from './feedback/classifier.js';
export { createFeedbackRegistry } from './feedback/registry.js';
export { RefusedCallError, SecurityError } from './grpc/errors.js';
export type { ChatEndpointOptions, ChatSettings } from './language/chat-endpoint.js';
export { ChatEndpoint } from './language/chat-endpoint.js';
export type { LanguageModelServerSettings, ModelServerSettings } from './language/connection-settings.js';
export { HuggingFaceTokenizer, loadTokenizer } from './language/hugging-face-tokenizer.js';
export type {
  Completion,
  CompletionPiece,
  LanguageModel,
  ModelInfo,
  SampleRequest,
  SamplingSettings,
} from './language/language-model.js';
export type { OpenInferenceOptions } from './language/open-inference-client.js';
export { OpenInferenceClient } from './language/open-inference-client.js';
export type { Tokenizer } from './language/tokenizer.js';
export type { VllmClientOptions } from './language/vllm-client.js';
export { VllmClient } from './language/vllm-client.js';
export {
  type TrainControlOptions,
  type TrainControlResult,
  TrainedPolicy,
  trainControl,
} from './learners/index.js';
export { checkNeeds } from './operators/needs.js';
export type {
  KlEstimate,
  Operator,
  OperatorBatch,
  OperatorDefinition,
  OperatorNeeds,
  OperatorResult,
  RegisteredOperator,
} from './operators/operator.js';
export { createOperatorRegistry } from './operators/registry.js';
export { renderCurveSvg, renderReport } from './report/report.js';
export { readRun } from './report/run-data.js';
export type { Checkpoint } from './run/checkpoints.js';
export { readCheckpoint } from './run/checkpoints.js';
export type { LearnerObserver } from './run/observer.js';
export type { EvaluationRecord, MetricRecord, RunSummary } from './run/records.js';
export { openRunDirectory } from './run/run-directory.js';
export { type EmbeddedServer, startEmbeddedServer } from './simulators/embedded-server.js';
export { createSimulator, simulators } from './simulators/registry.js';
export { serveSimulators } from './simulators/serve.js';
