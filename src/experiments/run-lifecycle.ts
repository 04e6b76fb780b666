import { PmpoError } from '../core/errors.js';
import { mean, standardDeviation } from '../core/statistics.js';
import { renderReport } from '../report/report.js';
import { readRun } from '../report/run-data.js';
import type { LoadedCheckpoint } from '../run/checkpoints.js';
import { type JobKind, jobTerms } from '../run/job-terms.js';
import type { LearnerObserver } from '../run/observer.js';
import { createRunObserver } from '../run/observer.js';
import { createProgress, type ProgressMode, type Total } from '../run/progress.js';
import type { RunSummary } from '../run/records.js';
import { createRunDirectory, type RunDirectory } from '../run/run-directory.js';

/** What runs of every kind have around them: a folder, records, progress, and a way to go on. */

export interface RunFrameOptions {
  /** The folder of a run to go on with, from its newest checkpoint. Absent: a new one. */
  readonly resume?: RunDirectory;
  readonly progressMode: ProgressMode;
  /** The command that makes this run, printed in its report. */
  readonly command: string;
  /** Aborted: the run saves a checkpoint and stops. */
  readonly signal?: AbortSignal;
  /** Told what takes its time before the run has a folder to write to. */
  readonly say?: (line: string) => void;
  /** Told when the run has its folder. */
  readonly onStart?: (directory: RunDirectory) => void;
}

export interface RunResult {
  readonly directory: RunDirectory;
  /** Absent when the run was stopped before its end. */
  readonly summary?: RunSummary;
}

/** What the run is. */
export interface RunSubject {
  readonly kind: JobKind;
  readonly output: string;
  readonly name: string;
  /** The text of config.yaml. */
  readonly config: string;
  /** Of which its progress is a part. */
  readonly total: Total;
  readonly keep: number;
  readonly warnings: readonly string[];
}

/** What is opened before the run has a folder: nothing is written before servers have answered. */
export interface Surroundings {
  readonly notice: (message: string) => void;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
  readonly checkpoint: LoadedCheckpoint | undefined;
  /** Called in the reverse order at the end, however the run ends. */
  readonly onEnd: (close: () => Promise<void>) => void;
}

export interface RunInside extends Surroundings {
  readonly directory: RunDirectory;
  readonly observer: LearnerObserver;
}

/** The summary of a run of this kind from its configuration, its counters and the scores of its last evaluation. */
export function summaryOf(
  kind: JobKind,
  {
    operator,
    feedback,
    environment,
    seed,
  }: Pick<RunSummary, 'operator' | 'feedback' | 'environment' | 'seed'>,
  { steps, updates, wallSeconds }: Pick<RunSummary, 'steps' | 'updates' | 'wallSeconds'>,
  scores: readonly number[],
): RunSummary {
  const { stepUnit, scoreName } = jobTerms[kind];
  return {
    operator,
    feedback,
    environment,
    seed,
    steps,
    stepUnit,
    updates,
    wallSeconds,
    evaluation: {
      scoreName,
      scoreCount: scores.length,
      meanScore: mean(scores),
      stdScore: standardDeviation(scores),
    },
  };
}

/** Draws the report of a run from the files that it left behind. */
export async function writeReport(directory: RunDirectory, command: string): Promise<void> {
  const run = await readRun(directory.path);
  await directory.writeReport(await renderReport([run], { command }));
}

/** Keeps what is said before there is anywhere to write it. */
function lateNotices() {
  const early: string[] = [];
  let target: ((message: string) => void) | undefined;
  return {
    notice: (message: string) => (target === undefined ? void early.push(message) : target(message)),
    sendTo(to: (message: string) => void) {
      target = to;
      early.forEach(to);
    },
  };
}

/** An error of a run that can go on says how. */
async function withResumeHint(error: unknown, directory: RunDirectory): Promise<unknown> {
  if (!(error instanceof PmpoError) || (await directory.checkpoints.latest()) === undefined) return error;
  const { remedy, ...details } = error.details;
  const hint = `Go on from the last checkpoint with: pmpo train --resume ${directory.path}`;
  return new PmpoError({
    ...details,
    remedy: remedy === undefined ? hint : `${remedy}. ${hint}`,
    cause: error,
  });
}

/**
 * Makes one run: opens what it needs, gives it a folder, and leaves there what every run leaves.
 *
 * @param open connects to servers and loads models.
 * @param work does the job; returns the summary, or undefined when it was stopped.
 * @throws PmpoError as these do; where the run can go on, the message says how.
 */
export async function makeRun<Opened>(
  subject: RunSubject,
  options: RunFrameOptions,
  open: (surroundings: Surroundings) => Promise<Opened>,
  work: (opened: Opened, inside: RunInside) => Promise<RunSummary | undefined>,
): Promise<RunResult> {
  const { resume, signal, command } = options;
  const closing: (() => Promise<void>)[] = [];
  try {
    if (resume !== undefined) closing.push((await resume.lock()).release);
    const checkpoint = await resume?.checkpoints.load();
    const notices = lateNotices();
    const onEnd = (close: () => Promise<void>) => void closing.push(close);
    const { say = () => {} } = options;
    const surroundings = { notice: notices.notice, say, signal, checkpoint, onEnd };
    const opened = await open(surroundings);
    const directory = resume ?? (await createRunDirectory(subject.output, subject.name));
    if (resume === undefined) {
      closing.push((await directory.lock()).release);
      await directory.writeConfig(subject.config);
    }
    options.onStart?.(directory);
    const records = directory.openRecords(
      checkpoint?.records === undefined
        ? {}
        : { resume: { steps: checkpoint.steps, position: checkpoint.records } },
    );
    const progress = createProgress({
      mode: options.progressMode,
      total: subject.total,
      terms: jobTerms[subject.kind],
      label: directory.name,
    });
    try {
      const observer = createRunObserver({ directory, records, progress, keep: subject.keep });
      const counters = checkpoint?.checkpoint.metadata.counters as { readonly updates: number } | undefined;
      progress.start(checkpoint?.steps ?? 0, counters?.updates ?? 0);
      notices.sendTo(observer.notice);
      if (checkpoint === undefined)
        for (const warning of subject.warnings) observer.notice(`Warning: ${warning}`);
      const summary = await work(opened, { ...surroundings, directory, observer });
      if (summary !== undefined) {
        await directory.writeSummary(summary);
        await writeReport(directory, command);
        progress.finish(summary, directory.files);
      }
      return { directory, summary };
    } catch (error) {
      throw await withResumeHint(error, directory);
    } finally {
      progress.stop();
      records.close();
    }
  } finally {
    for (const close of closing.reverse()) await close();
  }
}
