/**
 * `pmpo/language`: clients of servers that sample, score and train language models, tokenizers, rewards, and the embedded model.
 * Shapes: N completions of a prompt, T tokens of a completion, V vocabulary. Log-probs and KL divergences are in nats.
 */

export type { ChatMessage } from '../core/chat.js';
export type { ServerSettings as ModelServerSettings } from '../grpc/server-settings.js';
export type { ChatEndpointOptions, ChatSettings } from './chat-endpoint.js';
export { ChatEndpoint } from './chat-endpoint.js';
export type { BaseModelOptions, BaseModelSettings } from './embedded/base-model.js';
export { pretrainBaseModel } from './embedded/base-model.js';
export { connectEmbedded } from './embedded/client.js';
export type { EmbeddedModel, EmbeddedModelOptions } from './embedded/embedded-model.js';
export { createEmbeddedModel } from './embedded/embedded-model.js';
export type { ModelFolder } from './embedded/model-folder.js';
export { readModelFolder, writeModelFiles } from './embedded/model-folder.js';
export { HuggingFaceTokenizer, loadTokenizer } from './hugging-face-tokenizer.js';
export type {
  Completion,
  CompletionPiece,
  FinishReason,
  LanguageModel,
  ModelInfo,
  SampleRequest,
  SamplingSettings,
} from './language-model.js';
export type { OpenInferenceOptions } from './open-inference-client.js';
export { OpenInferenceClient } from './open-inference-client.js';
export type { Samples } from './open-inference-inputs.js';
export { createRewardRegistry } from './rewards/registry.js';
export type { Reward, RewardContext, RewardDefinition, RewardInput } from './rewards/reward.js';
export type { Tokenizer } from './tokenizer.js';
export type { TokenizerFiles } from './tokenizer-files.js';
export type {
  ScoreParts,
  SequenceCoefficients,
  SequenceScore,
  TokenSequence,
  TrainableModel,
  TrainableModelInfo,
} from './trainable-model.js';
export type { TrainerClient, TrainerClientOptions } from './trainer-client.js';
export { openTrainer } from './trainer-client.js';
export type { VllmClientOptions } from './vllm-client.js';
export { VllmClient } from './vllm-client.js';
