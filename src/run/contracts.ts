import type { NamedHostTensors } from '../engine/tensors.js';

/** What a job can be stopped with and go on from, bit for bit. */
export interface Checkpoint {
  /** Parameters, optimizer slots, operator state, replay, open episodes: everything that is numbers. */
  readonly tensors: NamedHostTensors;
  /** Counters and other small facts, JSON values. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** One line of `metrics.jsonl`. Names are the field's terms with a group before them: `policy/kl`, `critic/loss`. */
export interface MetricRecord {
  readonly environmentSteps: number;
  readonly updates: number;
  readonly wallSeconds: number;
  readonly values: Readonly<Record<string, number>>;
}

export interface EvaluationRecord {
  readonly environmentSteps: number;
  readonly updates: number;
  readonly wallSeconds: number;
  readonly returns: readonly number[];
}

/** What a learner tells while it works; the run decides what to write and to show. */
export interface LearnerObserver {
  progress(environmentSteps: number, updates: number): void;
  metrics(record: MetricRecord): void;
  evaluation(record: EvaluationRecord): void;
  /** A noteworthy event a person should read: a reconnection, a warning. */
  notice(message: string): void;
  /** Called at each checkpoint; the learner goes on when the promise resolves. */
  checkpoint(environmentSteps: number, checkpoint: Checkpoint): Promise<void>;
}

/** What stands in `summary.json`. */
export interface RunSummary {
  readonly operator: string;
  readonly feedback: string;
  readonly environment: string;
  readonly seed: number;
  readonly environmentSteps: number;
  readonly updates: number;
  readonly wallSeconds: number;
  readonly evaluation: { readonly episodes: number; readonly meanReturn: number; readonly stdReturn: number };
}
