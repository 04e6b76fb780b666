import { configText, type LoadedConfig, type ResolvedConfig } from '../config/load.js';
import { createEngine } from '../engine/create.js';
import type { Engine } from '../engine/engine.js';
import { PmpoError } from '../errors.js';
import { exportPolicy } from '../learners/control/policy.js';
import { type TrainControlResult, trainControl } from '../learners/control/train.js';
import type { ReplayReader } from '../replay/redis/replay-reader.js';
import { renderReport } from '../report/report.js';
import { readRun } from '../report/run-data.js';
import type { LoadedCheckpoint } from '../run/checkpoints.js';
import type { RunSummary } from '../run/contracts.js';
import { createRunObserver } from '../run/observer.js';
import { createProgress, type ProgressMode } from '../run/progress.js';
import { createRunDirectory, type RunDirectory } from '../run/run-directory.js';
import { mean, standardDeviation } from '../run/statistics.js';
import { openReplayReader, remoteReplay } from './remote-replay.js';
import { defaultRunName } from './run-name.js';
import { openWorlds, type Worlds } from './worlds.js';

export interface TrainRunOptions {
  readonly loaded: LoadedConfig;
  /** The folder of a run to go on with, from its newest checkpoint. Absent: a new one. */
  readonly resume?: RunDirectory;
  readonly progressMode: ProgressMode;
  /** The command that makes this run, printed in its report. */
  readonly command: string;
  /** Aborted: the run saves a checkpoint and stops. */
  readonly signal?: AbortSignal;
  /** Told when the run has its folder. */
  readonly onStart?: (directory: RunDirectory) => void;
}

export interface TrainRunResult {
  readonly directory: RunDirectory;
  /** Absent when the run was stopped before its end. */
  readonly summary?: RunSummary;
}

export function summarize(
  { environment, operator, feedback, seed }: ResolvedConfig,
  { environmentSteps, updates, wallSeconds, evaluation: { returns } }: TrainControlResult,
): RunSummary {
  return {
    operator: operator.name,
    feedback: feedback.name,
    environment: environment.simulator ?? environment.address?.toString() ?? '',
    seed,
    environmentSteps,
    updates,
    wallSeconds,
    evaluation: {
      episodes: returns.length,
      meanReturn: mean(returns),
      stdReturn: standardDeviation(returns),
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
 * One training run from a configuration to a folder with everything that it leaves behind: engine, simulators, learner,
 * records, policy, summary and report. Nothing is written before the simulators have answered.
 *
 * @throws PmpoError as the engine, the simulators and the learner do; where the run can go on, the message says how.
 */
export async function trainRun(options: TrainRunOptions): Promise<TrainRunResult> {
  const { config } = options.loaded;
  const cleanUp: (() => Promise<void>)[] = [];
  try {
    if (options.resume !== undefined) cleanUp.push((await options.resume.lock()).release);
    const checkpoint = await options.resume?.checkpoints.load();
    const notices = lateNotices();
    const surroundings = { notice: notices.notice, signal: options.signal };
    const engine = await createEngine(config.engine, { threads: config.threads });
    cleanUp.push(() => engine.dispose());
    const worlds = await openWorlds(config, surroundings);
    cleanUp.push(() => worlds.close());
    const isRemote = config.replay.redis !== undefined;
    const reader = isRemote
      ? await openReplayReader(config, checkpoint === undefined, surroundings)
      : undefined;
    if (reader !== undefined) cleanUp.push(() => reader.close());
    const directory =
      options.resume ?? (await createRunDirectory(config.output, config.name ?? defaultRunName(config)));
    if (options.resume === undefined) {
      cleanUp.push((await directory.lock()).release);
      await directory.writeConfig(configText(config));
    }
    options.onStart?.(directory);
    try {
      const summary = await runIn(directory, options, engine, worlds, reader, notices.sendTo, checkpoint);
      return { directory, summary };
    } catch (error) {
      throw await withResumeHint(error, directory);
    }
  } finally {
    for (const close of cleanUp.reverse()) await close();
  }
}

/** Trains in a folder; returns the summary, or undefined when it was stopped. */
async function runIn(
  directory: RunDirectory,
  { loaded, progressMode, command, signal }: TrainRunOptions,
  engine: Engine,
  { environment, evaluationEnvironment }: Worlds,
  reader: ReplayReader | undefined,
  sendNotices: (to: (message: string) => void) => void,
  checkpoint: LoadedCheckpoint | undefined,
): Promise<RunSummary | undefined> {
  const { config, operator, classifier, warnings } = loaded;
  const records = directory.openRecords(
    checkpoint?.records === undefined
      ? {}
      : { resume: { environmentSteps: checkpoint.environmentSteps, position: checkpoint.records } },
  );
  const progress = createProgress({
    mode: progressMode,
    totalSteps: config.learner.environmentSteps,
    label: directory.name,
  });
  try {
    const observer = createRunObserver({ directory, records, progress, keep: config.checkpoint.keep });
    progress.start(checkpoint?.environmentSteps ?? 0);
    sendNotices(observer.notice);
    if (checkpoint === undefined) for (const warning of warnings) observer.notice(`Warning: ${warning}`);
    const result = await trainControl({
      config,
      engine,
      ...(environment === undefined ? { remote: remoteReplay(reader!, directory) } : { environment }),
      evaluationEnvironment,
      operator,
      classifier,
      observer,
      resume: checkpoint?.checkpoint,
      signal,
      clock: () => performance.now(),
    });
    if (result.interrupted) return undefined;
    const summary = summarize(config, result);
    await directory.writePolicy(await exportPolicy(result));
    await directory.writeSummary(summary);
    await writeReport(directory, command);
    progress.finish(summary, directory.files);
    return summary;
  } finally {
    progress.stop();
    records.close();
  }
}
