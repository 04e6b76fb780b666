import type { ControlUpdateConfig, CriticConfig, PolicyConfig } from '../control/config.js';
import type { CopyRule } from '../schedule.js';

/**
 * The settings of an offline learner. They are plain data without defaults; the parsed configuration file of an offline job has this
 * shape too, and config/offline-schema.ts gives the defaults.
 */
export interface OfflineLearnerConfig {
  /** Determines everything random in the run. */
  readonly seed: number;
  readonly policy: PolicyConfig;
  readonly critic: CriticConfig;
  /** How the reference policy follows the policy. */
  readonly reference: CopyRule | 'initial';
  readonly learner: OfflineUpdateConfig;
  readonly dataset: {
    /** n of the n-step returns. */
    readonly nStep: number;
    /** The memory that transitions may take, in megabytes. */
    readonly megabytes: number;
  };
  readonly evaluation: {
    /** Updates between evaluations. */
    readonly every: number;
    /** Episodes in each evaluation. */
    readonly episodes: number;
  };
  readonly checkpoint: {
    /** Updates between checkpoints. */
    readonly every: number;
    /** Number of checkpoints kept. */
    readonly keep: number;
  };
}

/** How a data set becomes updates. */
export interface OfflineUpdateConfig
  extends Pick<
    ControlUpdateConfig,
    | 'batchSize'
    | 'samples'
    | 'normalizeObservations'
    | 'learningRate'
    | 'weightDecay'
    | 'stateLearningRate'
    | 'decayFrom'
    | 'maxGradientNorm'
    | 'discount'
  > {
  /** Updates of the whole run. */
  readonly updates: number;
  /** The actions to which feedback and operator apply: the data's own, N samples of the reference policy, or both as one context. */
  readonly actions: 'data' | 'policy' | 'both';
  /** Weight of the operator's loss. */
  readonly operatorWeight: number;
  /** Weight of behavior cloning: of −log π(a|s), the mean over the data's own actions. */
  readonly behaviorCloning: number;
}
