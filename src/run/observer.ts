import type { EpisodeRecording } from '../environments/episode-recording.js';
import type { Checkpoint } from './checkpoints.js';
import type { Progress } from './progress.js';
import type { RecordWriter } from './record-writer.js';
import type { EvaluationRecord, MetricRecord } from './records.js';
import type { RunDirectory } from './run-directory.js';

/** Receives what a learner reports while it works. */
export interface LearnerObserver {
  /** @param steps environment steps taken, or completions learned from. */
  progress(steps: number, updates: number): void;
  metrics(record: MetricRecord): void;
  evaluation(record: EvaluationRecord): void;
  /**
   * An episode of the evaluation that was told last, as EpisodeRecorder has recorded it. May be left out.
   * @param isBest whether no earlier evaluation was better.
   */
  episode?(evaluation: EvaluationRecord, episode: EpisodeRecording, isBest: boolean): Promise<void>;
  /** Something a person should read: a reconnection, a warning. */
  notice(message: string): void;
  /** What the learner waits for, told once a second; undefined when it goes on. May be left out. */
  waiting?(what: string | undefined): void;
  /** Whether a person has asked for a checkpoint since the last call. The learner asks at every step. May be left out. */
  checkpointRequested?(): boolean;
  /** Saves a checkpoint; the learner continues when the promise resolves. */
  checkpoint(steps: number, checkpoint: Checkpoint): Promise<void>;
}

export interface RunObserverOptions {
  readonly directory: RunDirectory;
  readonly records: RecordWriter;
  readonly progress: Progress;
  /** Whether a person has asked for a checkpoint since the last call. */
  readonly checkpointRequested?: () => boolean;
  /** Number of checkpoints kept; older ones are deleted once a newer one is saved. */
  readonly keep: number;
  /** The job's configuration, saved in each checkpoint. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Metrics of held-out data, which are shown like evaluations. */
const heldOutMetric = /^(heldOut\/|evaluation\/(winRate|judgeWinRate)$)/;

/**
 * The observer of a run with a folder: records go to `metrics.jsonl` and TensorBoard, evaluations and notices also to the
 * terminal. Each checkpoint is saved with the position of the records, so that resuming repeats none of them.
 */
export function createRunObserver({
  directory,
  records,
  progress,
  keep,
  config,
  checkpointRequested,
}: RunObserverOptions): LearnerObserver {
  const notice = (message: string) => {
    records.notice(message);
    progress.notice(message);
  };
  let isEpisodeLost = false;
  return {
    progress: (steps, updates) => progress.update(steps, updates),
    metrics: (record) => {
      records.metrics(record);
      const heldOut = Object.entries(record.values).filter(([name]) => heldOutMetric.test(name));
      if (heldOut.length > 0) progress.heldOut(record.steps, Object.fromEntries(heldOut));
    },
    evaluation: (record) => {
      records.evaluation(record);
      progress.evaluation(record);
    },
    episode: async ({ steps, updates }, episode, isBest) => {
      try {
        await directory.writeEpisode({ steps, updates, episode }, isBest);
      } catch (error) {
        // A picture less is no reason to end a run.
        if (!isEpisodeLost) notice(`an episode is not kept: ${(error as Error).message}`);
        isEpisodeLost = true;
      }
    },
    notice,
    waiting: progress.waiting,
    ...(checkpointRequested === undefined ? {} : { checkpointRequested }),
    checkpoint: async (steps, checkpoint) => {
      const file = await directory.checkpoints.save(steps, checkpoint, {
        records: records.position(),
        config,
      });
      await directory.checkpoints.prune(keep);
      progress.checkpoint(steps, file);
    },
  };
}
