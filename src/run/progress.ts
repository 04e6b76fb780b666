import { isAbsolute, relative } from 'node:path';
import cliProgress from 'cli-progress';
import { formatCount, formatDuration, formatNumber } from '../core/format.js';
import { mean, standardDeviation } from '../core/statistics.js';
import { capitalized, type JobTerms, jobTerms } from './job-terms.js';
import type { EvaluationRecord, RunSummary } from './records.js';
import type { RunFiles } from './run-directory.js';

/** `bar`: for a terminal; `lines`: for logs; `json`: one object per line on stdout; `quiet`: nothing. */
export type ProgressMode = 'bar' | 'lines' | 'json' | 'quiet';

/** When a job ends: after so many environment steps (completions), or after so many updates. */
export type Total = { readonly totalSteps: number } | { readonly totalUpdates: number };

/** Shows a person or a program how a job goes. */
export interface Progress {
  readonly mode: ProgressMode;
  /** @param steps, updates where the job begins: more than 0 when it goes on from a checkpoint. */
  start(steps: number, updates: number): void;
  update(steps: number, updates: number): void;
  evaluation(record: EvaluationRecord): void;
  /** What the policy gives to held-out data, by metric: all there is to show where nothing is sampled. */
  heldOut(steps: number, values: Readonly<Record<string, number>>): void;
  notice(message: string): void;
  checkpoint(steps: number, file: string): void;
  /** The job has ended well: what came out and where it stands. */
  finish(summary: RunSummary, files: RunFiles): void;
  /** The job was stopped and can go on. @param command what goes on from here: `pmpo train … --resume DIR`. */
  stopped(steps: number, command: string): void;
  /** Takes the bar away; to be called however the job ends. Harmless when called again. */
  stop(): void;
}

export interface ProgressOptions {
  readonly mode: ProgressMode;
  readonly total: Total;
  /** Default: those of control. */
  readonly words?: JobTerms;
  /** The run's name, shown before the bar. */
  readonly label?: string;
  readonly stdout?: NodeJS.WritableStream;
  readonly stderr?: NodeJS.WritableStream;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
  /** Between two plain lines, or two JSON objects. */
  readonly everySeconds?: number;
}

/** The mode that a command's flags and its terminal ask for. Flags win over the terminal, `--json` over `--quiet`. */
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

/** How many per second over the last half minute: what was fast an hour ago says nothing of what is left. */
class Rate {
  readonly #points: { readonly time: number; readonly count: number }[] = [];

  constructor(private readonly windowSeconds = 30) {}

  add(time: number, count: number): void {
    const last = this.#points.at(-1);
    // A point every half second is plenty, however often the job reports.
    if (last === undefined || time - last.time >= 500) this.#points.push({ time, count });
    while (this.#points.length > 2 && time - this.#points[1]!.time >= this.windowSeconds * 1000) {
      this.#points.shift();
    }
  }

  /** Per second up to now; NaN before there are two points. */
  value(time: number, count: number): number {
    const first = this.#points[0];
    return first === undefined || time <= first.time
      ? Number.NaN
      : ((count - first.count) * 1000) / (time - first.time);
  }
}

interface State {
  readonly steps: number;
  readonly updates: number;
  readonly stepsPerSecond: number;
  readonly secondsLeft: number;
  readonly lastScore?: number;
}

/** How far a job is: what it counts by, how many of them are done, and how many there will be. */
function standing(state: Pick<State, 'steps' | 'updates'>, total: Total, words: JobTerms) {
  return 'totalSteps' in total
    ? { unit: words.steps, done: state.steps, all: total.totalSteps }
    : { unit: 'updates', done: state.updates, all: total.totalUpdates };
}

function describeState(state: State, total: Total, words: JobTerms): string {
  const { unit, done, all } = standing(state, total, words);
  const parts = [
    `${formatCount(done)} / ${formatCount(all)} ${unit}`,
    `${formatCount(state.stepsPerSecond)} ${words.steps}/s`,
    `${formatDuration(state.secondsLeft)} left`,
    `${words.scoreName} ${formatNumber(state.lastScore)}`,
  ];
  return parts.join(' · ');
}

function describeEvaluation({ steps, scores }: EvaluationRecord, words: JobTerms): string {
  const spread = `${formatNumber(mean(scores))} ± ${formatNumber(standardDeviation(scores))}`;
  return `Evaluation at ${formatCount(steps)} ${words.steps}: ${words.scoreName} ${spread} over ${scores.length} ${scores.length === 1 ? words.episode : words.episodes}`;
}

function describeHeldOut(values: Readonly<Record<string, number>>): string {
  const parts = Object.entries(values).map(
    ([name, value]) => `${name.replace(/^(heldOut|evaluation)\//, '')} ${formatNumber(value)}`,
  );
  return parts.join(' · ');
}

function heldOutLine(steps: number, values: Readonly<Record<string, number>>, words: JobTerms): string {
  return `Held out at ${formatCount(steps)} ${words.steps}: ${describeHeldOut(values)}`;
}

/** A path as a person would type it here. */
function shortPath(path: string): string {
  const fromHere = relative('', path);
  return fromHere.startsWith('..') || isAbsolute(fromHere) ? path : fromHere;
}

function describeEnd({ summary, files, heldOut }: End, words: JobTerms): string[] {
  const { scoreCount, meanScore, stdScore } = summary.evaluation;
  const evaluated = `${capitalized(words.scoreName)} ${formatNumber(meanScore)} ± ${formatNumber(stdScore)} over ${scoreCount} ${scoreCount === 1 ? words.episode : words.episodes}`;
  return [
    `Done: ${formatCount(summary.steps)} ${words.steps}, ${formatCount(summary.updates)} updates in ${formatDuration(summary.wallSeconds)}`,
    ...(scoreCount > 0 ? [evaluated] : []),
    ...(heldOut === undefined ? [] : [`Held out: ${describeHeldOut(heldOut)}`]),
    `Report: ${shortPath(files.report)}`,
  ];
}

function describeStop(steps: number, total: Total, command: string, words: JobTerms): string[] {
  const of = 'totalSteps' in total ? ` of ${formatCount(total.totalSteps)}` : '';
  return [
    `Stopped at ${formatCount(steps)}${of} ${words.steps}; a checkpoint is saved. Go on with:`,
    `  ${command}`,
  ];
}

interface End {
  readonly summary: RunSummary;
  readonly files: RunFiles;
  /** The last metrics of held-out data. */
  readonly heldOut?: Readonly<Record<string, number>>;
}

/** How one mode shows what happens. */
interface View {
  start(state: State): void;
  /** Called at every update; shows something when it is time to. */
  update(state: State): void;
  evaluation(record: EvaluationRecord): void;
  heldOut(steps: number, values: Readonly<Record<string, number>>): void;
  notice(message: string): void;
  checkpoint(steps: number, file: string): void;
  finish(end: End): void;
  stopped(steps: number, command: string): void;
  stop(): void;
}

const quietView: View = {
  start() {},
  update() {},
  evaluation() {},
  heldOut() {},
  notice() {},
  checkpoint() {},
  finish() {},
  stopped() {},
  stop() {},
};

function linesView(write: (line: string) => void, total: Total, due: () => boolean, words: JobTerms): View {
  return {
    ...quietView,
    update: (state) => {
      if (due()) write(describeState(state, total, words));
    },
    evaluation: (record) => write(describeEvaluation(record, words)),
    heldOut: (steps, values) => write(heldOutLine(steps, values, words)),
    notice: write,
    finish: (end) => describeEnd(end, words).forEach(write),
    stopped: (steps, command) => describeStop(steps, total, command, words).forEach(write),
  };
}

function jsonView(
  write: (line: string) => void,
  total: Total,
  due: () => boolean,
  { stepUnit, scoreName }: JobTerms,
): View {
  const event = (name: string, fields: object) => write(JSON.stringify({ event: name, ...fields }));
  return {
    start: ({ steps }) => event('start', { steps, stepUnit, ...total }),
    update: ({ steps, ...state }) => {
      if (due()) event('progress', { steps, stepUnit, ...state, scoreName, ...total });
    },
    evaluation: (record) => {
      const { scores } = record;
      event('evaluation', { ...record, meanScore: mean(scores), stdScore: standardDeviation(scores) });
    },
    heldOut: (steps, values) => event('heldOut', { steps, stepUnit, values }),
    notice: (message) => event('notice', { message }),
    checkpoint: (steps, file) => event('checkpoint', { steps, stepUnit, file }),
    finish: ({ summary, files }) => event('finish', { summary, files }),
    stopped: (steps, resume) => event('stopped', { steps, stepUnit, resume }),
    stop() {},
  };
}

function barView(stream: NodeJS.WritableStream, label: string, total: Total, words: JobTerms): View {
  const bars = new cliProgress.MultiBar({
    stream,
    format: `${label}{bar} {percentage}% · {text}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    hideCursor: true,
    // Signals are the run's: it saves a checkpoint first.
    gracefulExit: false,
    clearOnComplete: true,
    linewrap: false,
    fps: 5,
  });
  let bar: cliProgress.SingleBar | undefined;
  const write = (line: string) =>
    bar === undefined ? void stream.write(`${line}\n`) : bars.log(`${line}\n`);
  const payload = (state: State) => ({ text: describeState(state, total, words) });
  const stop = () => {
    if (bar === undefined) return;
    process.off('exit', stop);
    bars.update();
    bar = undefined;
    bars.stop();
  };
  return {
    start: (state) => {
      const { done, all } = standing(state, total, words);
      bar = bars.create(all, done, payload(state));
      // However the program ends, the terminal gets its cursor back.
      process.once('exit', stop);
    },
    update: (state) => {
      const { done, all } = standing(state, total, words);
      bar?.update(Math.min(done, all), payload(state));
    },
    evaluation: (record) => write(describeEvaluation(record, words)),
    heldOut: (steps, values) => write(heldOutLine(steps, values, words)),
    notice: write,
    checkpoint() {},
    finish: (end) => {
      stop();
      describeEnd(end, words).forEach(write);
    },
    stopped: (steps, command) => {
      stop();
      describeStop(steps, total, command, words).forEach(write);
    },
    stop,
  };
}

/** What shows a job's progress. What is meant for people goes to stderr, JSON to stdout. */
export function createProgress({
  mode,
  total,
  words = jobTerms.control,
  label,
  stdout = process.stdout,
  stderr = process.stderr,
  now = () => performance.now(),
  everySeconds = 10,
}: ProgressOptions): Progress {
  let lastShown = Number.NEGATIVE_INFINITY;
  const due = () => {
    if (now() - lastShown < everySeconds * 1000) return false;
    lastShown = now();
    return true;
  };
  const writer = (stream: NodeJS.WritableStream) => (line: string) => void stream.write(`${line}\n`);
  const views: Readonly<Record<ProgressMode, () => View>> = {
    bar: () => barView(stderr, label === undefined ? '' : `${label} `, total, words),
    lines: () => linesView(writer(stderr), total, due, words),
    json: () => jsonView(writer(stdout), total, due, words),
    quiet: () => quietView,
  };
  const view = views[mode]();
  const [speed, pace] = [new Rate(), new Rate()];
  let lastScore: number | undefined;
  let heldOut: Readonly<Record<string, number>> | undefined;
  const stateAt = (steps: number, updates: number): State => {
    const time = now();
    const { done, all } = standing({ steps, updates }, total, words);
    speed.add(time, steps);
    pace.add(time, done);
    return {
      steps,
      updates,
      stepsPerSecond: speed.value(time, steps),
      secondsLeft: (all - done) / pace.value(time, done),
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
      view.evaluation(record);
    },
    heldOut: (steps, values) => {
      heldOut = values;
      view.heldOut(steps, values);
    },
    notice: view.notice,
    checkpoint: view.checkpoint,
    finish: (summary, files) => view.finish({ summary, files, heldOut }),
    stopped: view.stopped,
    stop: view.stop,
  };
}
