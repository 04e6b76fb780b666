/**
 * `pmpo/learners`: whole training jobs, and the step that they share. `trainControl` improves a policy in simulators,
 * `trainLanguage` a language model; both take any operator and any feedback classifier, report to an observer, and resume from
 * checkpoints. `trainOffline` learns a policy from fixed transitions. `trainBandit` searches for the minimum of functions with many operators and seeds at once. `ImprovementStep` and
 * `TrainedOperator` are for learners of your own.
 */

export type { ChatMessage } from '../core/chat.js';
export { divergedError } from '../core/errors.js';
export { openTransitions } from '../datasets/transitions/open.js';
export type { RecordedEpisode, TransitionSource } from '../datasets/transitions/source.js';
export type { Completion, LanguageModel, SamplingSettings } from '../language/language-model.js';
export type { Reward, RewardInput } from '../language/rewards/reward.js';
export type { TrainableModel } from '../language/trainable-model.js';
export type { Checkpoint } from '../run/checkpoints.js';
export type { LearnerObserver } from '../run/observer.js';
export type {
  EvaluatedCompletion,
  EvaluationRecord,
  LanguageEvaluation,
  MetricRecord,
  Moment,
} from '../run/records.js';
export type {
  BanditLearnerConfig,
  BanditMethod,
  BanditResult,
  SearchPoint,
  SearchTrace,
  TrainBanditOptions,
} from './bandit/config.js';
export { type BenchmarkFunction, benchmarkFunctions, type SearchFunction } from './bandit/functions.js';
export type { BanditPolicyConfig } from './bandit/policy.js';
export { trainBandit } from './bandit/train.js';
export type { ActionUnits } from './control/action-units.js';
export type {
  ControlLearnerConfig,
  ControlUpdateConfig,
  CriticConfig,
  PolicyConfig,
  ReplayConfig,
} from './control/config.js';
export { TrainedPolicy } from './control/policy.js';
export type { EnvironmentShape } from './control/policy-fit.js';
export type { RemoteReplay } from './control/remote-actors.js';
export { trainControl } from './control/train.js';
export type { TrainControlOptions, TrainControlResult } from './control/train-options.js';
export {
  type ClassifiedSamples,
  type ImprovementResult,
  ImprovementStep,
  type ImprovementStepOptions,
  lossGradients,
  type OperatorForward,
  type SampleTexts,
  type ScalarMetrics,
  TrainedOperator,
  type TrainedOperatorOptions,
} from './improvement-step.js';
export type {
  BatchSource,
  EvaluatedContext,
  EvaluatedSample,
  LanguageBatch,
  Prompt,
} from './language/batch.js';
export type { LanguageLearnerConfig } from './language/config.js';
export { DatasetBatches } from './language/dataset-batches.js';
export { PromptBatches, type SampleAndEvaluateOptions } from './language/prompt-batches.js';
export { trainLanguage } from './language/train.js';
export type {
  LanguageObserver,
  Samplers,
  TrainLanguageOptions,
  TrainLanguageResult,
} from './language/train-options.js';
export type { OfflineLearnerConfig, OfflineUpdateConfig } from './offline/config.js';
export { type DataShape, type DataShapeOptions, dataShape } from './offline/data-shape.js';
export { trainOffline } from './offline/train.js';
export type { TrainOfflineOptions, TrainOfflineResult } from './offline/train-options.js';
export { type CopyRule, copyIsDue, decayStart, learningRateFactor } from './schedule.js';
