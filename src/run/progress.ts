import { mean } from '../core/statistics.js';
import { type JobTerms, jobTerms } from './job-terms.js';
import {
  barView,
  type JobState,
  jsonView,
  linesView,
  quietView,
  type Total,
  totalOf,
  type View,
} from './progress-views.js';
import type { EvaluationRecord, RunSummary } from './records.js';
import type { RunFiles } from './run-directory.js';

export type { Total } from './progress-views.js';

/** `bar`: for a terminal; `lines`: for logs; `json`: one object per line on stdout; `quiet`: nothing. */
export type ProgressMode = 'bar' | 'lines' | 'json' | 'quiet';

/** Shows the progress of a job to a person or a program. */
export interface Progress {
  readonly mode: ProgressMode;
  /** @param steps, updates the job's position at its start: more than 0 when it resumes from a checkpoint. */
  start(steps: number, updates: number): void;
  update(steps: number, updates: number): void;
  evaluation(record: EvaluationRecord): void;
  /** Metrics of held-out data. A job that samples nothing has no evaluations, only these. */
  heldOut(steps: number, values: Readonly<Record<string, number>>): void;
  notice(message: string): void;
  /** What the job waits for, told once a second; undefined when it goes on. */
  waiting(what: string | undefined): void;
  checkpoint(steps: number, file: string): void;
  /** The job has reached its end. */
  finish(summary: RunSummary, files: RunFiles): void;
  /** Removes the bar. Must be called however the job ends; further calls have no effect. */
  stop(): void;
}

export interface ProgressOptions {
  readonly mode: ProgressMode;
  readonly total: Total;
  /** Default: the terms of control jobs. */
  readonly terms?: JobTerms;
  /** The run's name, shown before the bar. */
  readonly label?: string;
  readonly stdout?: NodeJS.WritableStream;
  readonly stderr?: NodeJS.WritableStream;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
  /** Seconds between two plain lines, or between two JSON objects. */
  readonly everySeconds?: number;
}

/** The mode for a command's flags and terminal. Flags win over the terminal, and `--json` over `--quiet`. */
export function progressMode({
  quiet = false,
  json = false,
  isTerminal,
}: {
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly isTerminal: boolean;
}): ProgressMode {
  if (json) return 'json';
  if (quiet) return 'quiet';
  return isTerminal ? 'bar' : 'lines';
}

/** Creates the progress display of a job. Text for people goes to stderr, JSON to stdout. */
export function createProgress({
  mode,
  total,
  terms = jobTerms.control,
  label,
  stdout = process.stdout,
  stderr = process.stderr,
  now = () => performance.now(),
  everySeconds = 10,
}: ProgressOptions): Progress {
  let lastShown = Number.NEGATIVE_INFINITY;
  const isDue = () => {
    if (now() - lastShown < everySeconds * 1000) return false;
    lastShown = now();
    return true;
  };
  const writeTo = (stream: NodeJS.WritableStream) => (line: string) => void stream.write(`${line}\n`);
  const views: Readonly<Record<ProgressMode, () => View>> = {
    bar: () => barView(stderr, label === undefined ? '' : `${label} `, total, terms),
    lines: () => linesView(writeTo(stderr), isDue, total, terms),
    json: () => jsonView(writeTo(stdout), isDue, total, terms),
    quiet: () => quietView,
  };
  const view = views[mode]();

  // These differ for a job that ends after a number of updates: its steps per update may vary.
  const stepRate = new Rate();
  const completionRate = new Rate();
  let lastScore: number | undefined;
  let lastHeldOut: Readonly<Record<string, number>> | undefined;
  const stateAt = (steps: number, updates: number): JobState => {
    const time = now();
    const { done, all } = totalOf({ steps, updates }, total, terms);
    stepRate.add(time, steps);
    completionRate.add(time, done);
    return {
      steps,
      updates,
      stepsPerSecond: stepRate.perSecond(time, steps),
      secondsLeft: (all - done) / completionRate.perSecond(time, done),
      lastScore,
    };
  };

  return {
    mode,
    start: (steps, updates) => {
      const state = stateAt(steps, updates);
      lastShown = now();
      view.start(state);
    },
    update: (steps, updates) => view.update(stateAt(steps, updates)),
    evaluation: (record) => {
      lastScore = mean(record.scores);
      // The time of an evaluation says nothing about the speed of the job.
      for (const rate of [stepRate, completionRate]) rate.skipTo(now());
      view.evaluation(record);
    },
    heldOut: (steps, values) => {
      lastHeldOut = values;
      view.heldOut(steps, values);
    },
    notice: view.notice,
    waiting: view.waiting,
    checkpoint: view.checkpoint,
    finish: (summary, files) => view.finish({ summary, files, heldOut: lastHeldOut }),
    stop: view.stop,
  };
}

/** The rate of a count over the last half minute: an earlier speed does not predict the time left. */
class Rate {
  readonly #points: { readonly time: number; readonly count: number }[] = [];

  constructor(private readonly windowSeconds = 30) {}

  /** @param time in milliseconds. */
  add(time: number, count: number): void {
    const last = this.#points.at(-1);
    // A point every half second is enough, however often the job reports.
    if (last === undefined || time - last.time >= 500) this.#points.push({ time, count });
    while (this.#points.length > 2 && time - this.#points[1]!.time >= this.windowSeconds * 1000) {
      this.#points.shift();
    }
  }

  /** Leaves out the time since the last point. */
  skipTo(time: number): void {
    const last = this.#points.at(-1);
    if (last === undefined) return;
    const pause = time - last.time;
    for (const [i, point] of this.#points.entries()) this.#points[i] = { ...point, time: point.time + pause };
  }

  /** The count per second up to `time`; NaN before there are two points. */
  perSecond(time: number, count: number): number {
    const first = this.#points[0];
    return first === undefined || time <= first.time
      ? Number.NaN
      : ((count - first.count) * 1000) / (time - first.time);
  }
}
