/**
 * `pmpo/feedback`: classifiers, which turn evaluations f(x, y) into accept and reject weights. The built-in ones are factories with typed
 * settings; `defineFeedback` makes one of your own.
 */

export { defaultDeadlineSeconds } from '../core/in-time.js';
export { classifyChecked, invalidFeedback } from './checked.js';
export {
  classifyOnHostChecked,
  FeedbackError,
  type HostCallOptions,
  openChecked,
} from './checked-host.js';
export type {
  ClassifierContext,
  EvaluationClassifier,
  EvaluationInput,
  Feedback,
  FeedbackClassifier,
  FeedbackDefinition,
  FeedbackInput,
  HostClassifier,
  HostFeedback,
  HostFeedbackInput,
  RegisteredFeedback,
  TensorClassifier,
} from './classifier.js';
export { defineFeedback } from './define.js';
export {
  type ExportedFeedback,
  exportFeedback,
  type PortableFeedback,
  type PortableShapes,
} from './export.js';
export { label } from './label.js';
export { median } from './median.js';
export { createFeedbackRegistry } from './registry.js';
export { type ThresholdSettings, threshold } from './threshold.js';
export { type TopKSettings, topK } from './top-k.js';
export { valueBaseline } from './value-baseline.js';
