import type { HeadSettings } from '../../distributions/create.js';
import type { CriticSettings } from '../../networks/critic.js';
import type { MlpSettings } from '../../networks/mlp.js';
import type { CopyRule } from '../schedule.js';

/**
 * The settings of a control learner. They are plain data without defaults; the parsed configuration file of a control job has
 * this shape too, and config/control-schema.ts gives the defaults.
 */
export interface ControlLearnerConfig {
  /** Determines everything random in the run. */
  readonly seed: number;
  readonly policy: PolicyConfig;
  readonly critic: CriticConfig;
  /** How the reference policy follows the policy: copied every `period` updates, a moving average, or never. */
  readonly reference: CopyRule | 'initial';
  readonly learner: ControlUpdateConfig;
  readonly replay: ReplayConfig;
  readonly evaluation: {
    /** Environment steps between evaluations. */
    readonly every: number;
    /** Episodes in each evaluation. */
    readonly episodes: number;
  };
  readonly checkpoint: {
    /** Environment steps between checkpoints. */
    readonly every: number;
    /** Number of checkpoints kept. */
    readonly keep: number;
  };
}

/** The policy's network and the distribution that its outputs parametrize. */
export interface PolicyConfig extends MlpSettings, HeadSettings {}

/** The ensemble of critics Q(x, y). */
export interface CriticConfig extends CriticSettings {
  /** Number of critics. */
  readonly ensemble: number;
  /** How the values of the ensemble become one. */
  readonly aggregate: 'min' | 'mean';
  readonly learningRate: number;
  /** Decoupled weight decay of the critics' AdamW. */
  readonly weightDecay: number;
  /** Whether critics learn targets less their running mean, divided by their running standard deviation (PopArt). */
  readonly normalizeTargets: boolean;
  /** How the target critics follow the critics. */
  readonly target: CopyRule;
}

/** How experience becomes updates. */
export interface ControlUpdateConfig {
  /** Environment steps of the whole run, over all environments. */
  readonly environmentSteps: number;
  /** Environment steps with random actions before the first update. */
  readonly warmupSteps: number;
  /** Correlation of the acting noise between steps; if neither is set, 0.8 for continuous actions, 0 for integers. See acting-noise.ts. */
  readonly explorationCorrelation?: number;
  /** Steps of a push of acting noise that swings, in place of `explorationCorrelation`. */
  readonly explorationSwing?: number;
  /** Share of steps with random actions in the first environment; absent: 0.4 for integers, 0 for continuous actions. See exploration.ts. */
  readonly explorationEpsilon?: number;
  /** Environment steps for each update. */
  readonly stepsPerUpdate: number;
  /** B, the contexts in a batch. */
  readonly batchSize: number;
  /** N, the samples for each context. */
  readonly samples: number;
  /** Up to this number of distinct actions, each is evaluated, weighted by its probability, in place of N samples. */
  readonly allActionsUpTo: number;
  /** Whether the networks see observations normalized by their running mean and standard deviation. */
  readonly normalizeObservations: boolean;
  /** Learning rate of the policy's Adam. */
  readonly learningRate: number;
  /** Decoupled weight decay of the policy's AdamW. */
  readonly weightDecay: number;
  /** Learning rate of the operator's state. */
  readonly stateLearningRate: number;
  /** Share of the run after which the learning rates of policy and critics fall linearly, to a twentieth at the end; not before 1,000 updates. */
  readonly decayFrom: number;
  /** Gradients are scaled down to this norm. */
  readonly maxGradientNorm: number;
  readonly discount: number;
}

/** The replay, and how learner and actors keep pace when actors feed it through Redis. */
export interface ReplayConfig {
  /** Transitions kept; the oldest go first. */
  readonly capacity: number;
  /** n of the n-step returns; absent: 5 for continuous actions, 1 if any action is an integer. */
  readonly nStep?: number;
  /** Number of times that each transition from Redis is learned from, on average; absent: batchSize / stepsPerUpdate. */
  readonly samplesPerInsert?: number;
  /** Samples by which learner or actors may be ahead of `samplesPerInsert`; absent: a tenth of the warm-up's samples. */
  readonly errorBuffer?: number;
  /** Updates between policies published in Redis. */
  readonly publishEvery: number;
  /** Whether a new run discards an unfinished one of the same name in Redis. */
  readonly discard: boolean;
}

/** The part of the configuration that actors need. */
export type ActorConfig = Pick<ControlLearnerConfig, 'seed' | 'policy' | 'replay'> & {
  readonly learner: Pick<
    ControlUpdateConfig,
    'warmupSteps' | 'explorationCorrelation' | 'explorationSwing' | 'explorationEpsilon' | 'discount'
  >;
};
