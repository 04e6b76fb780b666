import type { Engine } from '../../engine/engine.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { Operator } from '../../operators/operator.js';
import type { SearchFunction } from './functions.js';
import type { BanditPolicyConfig } from './policy.js';

/** The settings of a bandit learner. They are plain data without defaults. */
export interface BanditLearnerConfig {
  /** D, the number of variables of the functions. */
  readonly dimensions: number;
  readonly policy: BanditPolicyConfig;
  readonly reference: {
    /** Updates between two copies of the policy to its reference. */
    readonly period: number;
    /** How often it is copied: the search makes `period` times as many updates. */
    readonly copies: number;
  };
  readonly learner: {
    /** N, samples of each context. */
    readonly samples: number;
    /** C, contexts in each update of a problem. They are all alike: each is a draw of N samples, which are compared. */
    readonly contexts: number;
    /** Share of the search after which learning rates decay linearly to a twentieth; 1: they never do. */
    readonly decayFrom: number;
  };
}

/** An operator that searches, and its learning rate. */
export interface BanditMethod {
  readonly name: string;
  readonly operator: Operator;
  /** Adam's step size, in canonical units for the mean of a Gaussian. */
  readonly learningRate: number;
}

/** What `trainBandit` needs. */
export interface TrainBanditOptions {
  readonly engine: Engine;
  readonly config: BanditLearnerConfig;
  readonly functions: readonly SearchFunction[];
  readonly methods: readonly BanditMethod[];
  /** Each method searches each function once for each seed. Equal seeds have equal starts and equal noise. */
  readonly seeds: readonly number[];
  readonly classifier: FeedbackClassifier;
  /** The classifier's name in error messages. Default: `custom`. */
  readonly classifierName?: string;
  /** Stops the search. */
  readonly signal?: AbortSignal;
}

/** Where a search is, at the start or after a copy of the reference. */
export interface SearchPoint {
  /** f at the most likely point of the policy. */
  readonly value: number;
  /** The most likely point of the policy, canonical, [D]. */
  readonly mode: readonly number[];
  /** The policy's standard deviation, canonical, averaged over the dimensions. */
  readonly stddev: number;
}

/** The search of one method on one function with one seed. */
export interface SearchTrace {
  readonly method: string;
  readonly function: string;
  readonly seed: number;
  /** One point for each entry of `BanditResult.evaluations`. */
  readonly points: readonly SearchPoint[];
  /**
   * How the search ended: `diverged` if the mean or the deviation of its policy became immense or not finite, `collapsed` if the
   * deviation vanished. Such a search stands still from there on, and evaluates nothing any more.
   */
  readonly outcome: 'finished' | 'diverged' | 'collapsed';
}

/** The outcome of `trainBandit`. */
export interface BanditResult {
  /** Evaluations of f by a search up to each of its points. */
  readonly evaluations: readonly number[];
  readonly traces: readonly SearchTrace[];
}
