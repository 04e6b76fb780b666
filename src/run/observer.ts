import type { LearnerObserver } from './contracts.js';
import type { Progress } from './progress.js';
import type { RunRecords } from './records.js';
import type { RunDirectory } from './run-directory.js';

export interface RunObserverOptions {
  readonly directory: RunDirectory;
  readonly records: RunRecords;
  readonly progress: Progress;
  /** Checkpoints kept; older ones are deleted once a newer one is safe. */
  readonly keep: number;
}

/**
 * Joins what a run writes and shows: records go to `metrics.jsonl` and TensorBoard, evaluations and notices also to the
 * terminal, and each checkpoint is saved with the position of the records, so that resuming doubles none of them.
 */
export function createRunObserver({
  directory,
  records,
  progress,
  keep,
}: RunObserverOptions): LearnerObserver {
  return {
    progress: (environmentSteps, updates) => progress.update(environmentSteps, updates),
    metrics: (record) => {
      records.metrics(record);
      const heldOut = Object.entries(record.values).filter(([name]) =>
        /^(heldOut\/|evaluation\/winRate$)/.test(name),
      );
      if (heldOut.length > 0) progress.heldOut(record.environmentSteps, Object.fromEntries(heldOut));
    },
    evaluation: (record) => {
      records.evaluation(record);
      progress.evaluation(record);
    },
    notice: (message) => {
      records.notice(message);
      progress.notice(message);
    },
    checkpoint: async (environmentSteps, checkpoint) => {
      const file = await directory.checkpoints.save(environmentSteps, checkpoint, records.position());
      await directory.checkpoints.prune(keep);
      progress.checkpoint(environmentSteps, file);
    },
  };
}
