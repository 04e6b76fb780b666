import { rm } from 'node:fs/promises';
import {
  configText,
  type LoadedConfig,
  type LoadedLanguageConfig,
  type LoadedOfflineConfig,
} from '../config/load.js';
import { PmpoError } from '../core/errors.js';
import { mean, standardDeviation } from '../core/statistics.js';
import { openChecked } from '../feedback/checked-host.js';
import type { FeedbackClassifier } from '../feedback/classifier.js';
import { renderReport } from '../report/report.js';
import { readRun } from '../report/run-data.js';
import type { LoadedCheckpoint } from '../run/checkpoints.js';
import { type JobKind, jobKind, jobTerms } from '../run/job-terms.js';
import { createRunObserver, type LearnerObserver } from '../run/observer.js';
import { createProgress, type ProgressMode, type Total } from '../run/progress.js';
import { describeStart } from '../run/provenance.js';
import type { RunSummary } from '../run/records.js';
import { resumeCommand } from '../run/resume-command.js';
import { createRunDirectory, type RunDirectory } from '../run/run-directory.js';
import { compareWithCheckpoint, plain, type Resumption } from './resume.js';
import { defaultRunName } from './run-name.js';

/** The lifecycle that runs of every kind share: open servers, make a folder, work, write the results, clean up. */

/** Options of runs of every kind. */
export interface RunOptions {
  /** The folder of a run to resume from its newest checkpoint. Absent: a new run. */
  readonly resume?: RunDirectory;
  readonly progressMode: ProgressMode;
  /** The command that makes this run, printed in its report. */
  readonly command: string;
  /** Aborted: the run saves a checkpoint and stops. */
  readonly signal?: AbortSignal;
  /** Receives a line about each slow step that comes before the run has a folder. */
  readonly say?: (line: string) => void;
  /** Whether a person has asked for a checkpoint since the last call. */
  readonly checkpointRequested?: () => boolean;
  /** Called when the run has its folder. */
  readonly onStart?: (directory: RunDirectory) => void;
}

/** The outcome of a run. */
export interface RunResult {
  /** The run's folder. */
  readonly directory: RunDirectory;
  /** Absent if the run was stopped before its end. */
  readonly summary?: RunSummary;
}

/** The facts of a run that its lifecycle depends on. */
export interface RunDescription {
  readonly kind: JobKind;
  /** The folder in which the run's folder is made. */
  readonly output: string;
  readonly name: string;
  /** The configuration, and the text of it that config.yaml holds. */
  readonly settings: object;
  readonly config: string;
  readonly total: Total;
  /** Number of checkpoints kept. */
  readonly keep: number;
  readonly warnings: readonly string[];
}

/** The facts of a run from its configuration. */
export function describeRun({
  config,
  warnings,
}: LoadedConfig | LoadedLanguageConfig | LoadedOfflineConfig): RunDescription {
  const { learner } = config;
  return {
    kind: jobKind(config),
    output: config.output,
    name: config.name ?? defaultRunName(config),
    settings: config,
    config: configText(config),
    total:
      'environmentSteps' in learner
        ? { totalSteps: learner.environmentSteps }
        : { totalUpdates: learner.updates },
    keep: config.checkpoint.keep,
    warnings,
  };
}

/** The means of a run before it has a folder. Nothing is written until every server has answered. */
export interface RunContext {
  /** Receives messages for people; those from before there is a folder are written once there is one. */
  readonly notice: (message: string) => void;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
  /** The checkpoint to resume from. */
  readonly checkpoint: LoadedCheckpoint | undefined;
  /** Registers a function to be called when the run ends, in whatever way. The last one registered is called first. */
  readonly onEnd: (close: () => Promise<void>) => void;
}

/** The means of a run that has its folder. */
export interface StartedRun extends RunContext {
  readonly directory: RunDirectory;
  readonly observer: LearnerObserver;
}

/**
 * Makes one run, or resumes it.
 *
 * @param open connects to servers and loads models.
 * @param work trains. Returns the summary, or undefined if it was stopped before the end.
 * @throws PmpoError as `open` and `work` do. If the run can be resumed, the message says how.
 */
export async function makeRun<Opened>(
  description: RunDescription,
  options: RunOptions,
  open: (context: RunContext) => Promise<Opened>,
  work: (opened: Opened, run: StartedRun) => Promise<RunSummary | undefined>,
): Promise<RunResult> {
  const { resume, signal, command, say = () => {} } = options;
  const closing: (() => Promise<void>)[] = [];
  try {
    if (resume !== undefined) closing.push((await resume.lock()).release);
    const checkpoint = await resume?.checkpoints.load();
    const notices = bufferedNotices();
    const resumption =
      resume === undefined || checkpoint === undefined
        ? undefined
        : compareWithCheckpoint(resume.files.config, checkpoint, description.settings);
    resumption?.notices.forEach(notices.notice);
    const onEnd = (close: () => Promise<void>) => void closing.push(close);
    const context: RunContext = { notice: notices.notice, say, signal, checkpoint, onEnd };
    const opened = await open(context);

    const directory = resume ?? (await createRunDirectory(description.output, description.name));
    if (resume === undefined) {
      closing.push((await directory.lock()).release);
      await directory.writeConfig(description.config);
    }
    if (checkpoint !== undefined && resumption !== undefined)
      await reopen(directory, checkpoint, description, resumption);
    await directory.addStart(describeStart(command));
    options.onStart?.(directory);
    const records = directory.openRecords(
      checkpoint?.records === undefined
        ? {}
        : { resume: { steps: checkpoint.steps, position: checkpoint.records } },
    );
    for (const loss of records.losses) notices.notice(`Warning: ${loss}`);
    const progress = createProgress({
      mode: options.progressMode,
      total: description.total,
      terms: jobTerms[description.kind],
      label: directory.name,
    });
    try {
      const observer = createRunObserver({
        directory,
        records,
        progress,
        keep: description.keep,
        checkpointRequested: options.checkpointRequested,
        config: plain(description.settings),
      });
      const counters = checkpoint?.checkpoint.metadata.counters as { readonly updates: number } | undefined;
      progress.start(checkpoint?.steps ?? 0, counters?.updates ?? 0);
      notices.sendTo(observer.notice);
      if (checkpoint === undefined)
        for (const warning of description.warnings) observer.notice(`Warning: ${warning}`);
      const summary = await work(opened, { ...context, directory, observer });
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

/**
 * Prepares the folder of a run that is resumed: its config.yaml holds what the run goes on with, and there is no summary while it
 * is not finished.
 */
async function reopen(
  directory: RunDirectory,
  { steps, checkpoint }: LoadedCheckpoint,
  { config, total }: RunDescription,
  { changed }: Resumption,
): Promise<void> {
  if (changed) await directory.writeConfig(config);
  const { counters } = checkpoint.metadata as { counters?: { updates?: number } };
  const isUnfinished =
    'totalSteps' in total ? steps < total.totalSteps : (counters?.updates ?? 0) < total.totalUpdates;
  if (isUnfinished) await rm(directory.files.summary, { force: true });
}

/** Buffers notices until there is somewhere to write them. */
function bufferedNotices() {
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

/** Connects a classifier of plain code to what it needs, until the run ends. */
export async function openClassifier(
  name: string,
  classifier: FeedbackClassifier,
  { notice, signal, onEnd }: RunContext,
): Promise<void> {
  if (classifier.classifyOnHost === undefined) return;
  onEnd(async () => classifier.close?.());
  await openChecked(name, classifier, { notice }, { signal });
}

/** The error with the command that resumes the run, if it has a checkpoint. */
async function withResumeHint(error: unknown, directory: RunDirectory): Promise<unknown> {
  if (!(error instanceof PmpoError) || (await directory.checkpoints.latest()) === undefined) return error;
  const { remedy, ...details } = error.details;
  const hint = `Resume from the last checkpoint with: ${resumeCommand(directory.path)}`;
  return new PmpoError({
    ...details,
    remedy: remedy === undefined ? hint : `${remedy}. ${hint}`,
    cause: error,
  });
}

/** Draws the report of a run from the files in its folder. */
export async function writeReport(directory: RunDirectory, command: string): Promise<void> {
  const run = await readRun(directory.path);
  await directory.writeReport(await renderReport([run], { command }));
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
