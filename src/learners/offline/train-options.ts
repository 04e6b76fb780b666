import type { TransitionSource } from '../../datasets/transitions/source.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import type { PolicyJobOptions, PolicyJobResult } from '../control/train-options.js';
import type { OfflineLearnerConfig } from './config.js';
import type { DataShape } from './data-shape.js';

/** What an offline job is given, and what it gives back. */

/** What `trainOffline` needs. */
export interface TrainOfflineOptions extends PolicyJobOptions {
  readonly config: OfflineLearnerConfig;
  /** The data set, and how it enters a policy. It stays open. */
  readonly source: TransitionSource;
  readonly data: DataShape;
  /** The environments in which the policy is evaluated, which stay open. Absent: it is not evaluated. */
  readonly evaluationEnvironment?: VectorEnvironment;
}

/** The outcome of `trainOffline`. */
export type TrainOfflineResult = PolicyJobResult;
