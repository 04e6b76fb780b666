import type { ControlLearnerConfig } from '../../src/learners/control/config.js';

/** Changes to a configuration: a group may give some of its settings. */
export interface ControlConfigChanges {
  readonly seed?: number;
  readonly policy?: Partial<ControlLearnerConfig['policy']>;
  readonly critic?: Partial<ControlLearnerConfig['critic']>;
  readonly reference?: ControlLearnerConfig['reference'];
  readonly learner?: Partial<ControlLearnerConfig['learner']>;
  readonly replay?: Partial<ControlLearnerConfig['replay']>;
  readonly evaluation?: Partial<ControlLearnerConfig['evaluation']>;
  readonly checkpoint?: Partial<ControlLearnerConfig['checkpoint']>;
}

/** A control learner's configuration, small enough for tests. */
export function controlConfig(changes: ControlConfigChanges = {}): ControlLearnerConfig {
  return {
    seed: changes.seed ?? 0,
    policy: {
      head: 'auto',
      hidden: [16, 16],
      activation: 'elu',
      layerNorm: true,
      residual: false,
      bins: 11,
      uniformShare: 0.02,
      minStddev: 0.05,
      initialStddev: 0.5,
      ...changes.policy,
    },
    critic: {
      hidden: [16, 16],
      activation: 'elu',
      layerNorm: true,
      residual: false,
      head: 'scalar',
      bins: 51,
      ensemble: 2,
      aggregate: 'mean',
      learningRate: 3e-4,
      weightDecay: 0,
      normalizeTargets: true,
      target: { period: 7 },
      ...changes.critic,
    },
    reference: changes.reference ?? { period: 10 },
    learner: {
      environmentSteps: 450,
      warmupSteps: 60,
      stepsPerUpdate: 2,
      batchSize: 16,
      samples: 4,
      allActionsUpTo: 0,
      normalizeObservations: true,
      learningRate: 3e-3,
      weightDecay: 0,
      stateLearningRate: 1e-2,
      decayFrom: 0.5,
      maxGradientNorm: 40,
      discount: 0.99,
      ...changes.learner,
    },
    replay: { capacity: 1_000_000, nStep: 5, publishEvery: 20, discard: false, ...changes.replay },
    evaluation: { every: 200, episodes: 4, ...changes.evaluation },
    checkpoint: { every: 150, keep: 2, ...changes.checkpoint },
  };
}
