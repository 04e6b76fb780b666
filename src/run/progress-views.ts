import { isAbsolute, relative } from 'node:path';
import cliProgress from 'cli-progress';
import { formatCount, formatDuration, formatNumber } from '../core/format.js';
import { mean, standardDeviation } from '../core/statistics.js';
import { capitalized, type JobTerms } from './job-terms.js';
import type { EvaluationRecord, RunSummary } from './records.js';
import type { RunFiles } from './run-directory.js';

/** A job ends after this many steps, or after this many updates. */
export type Total = { readonly totalSteps: number } | { readonly totalUpdates: number };

/** The state of a job between two updates. */
export interface JobState {
  readonly steps: number;
  readonly updates: number;
  /** NaN before it can be measured. */
  readonly stepsPerSecond: number;
  readonly secondsLeft: number;
  /** The mean score of the last evaluation. */
  readonly lastScore?: number;
}

/** The results of a job that has reached its end. */
export interface JobEnd {
  readonly summary: RunSummary;
  readonly files: RunFiles;
  /** The last metrics of held-out data. */
  readonly heldOut?: Readonly<Record<string, number>>;
}

/** One way to show the progress of a job. */
export interface View {
  start(state: JobState): void;
  /** Called after every update; the view decides whether to show it. */
  update(state: JobState): void;
  evaluation(record: EvaluationRecord): void;
  heldOut(steps: number, values: Readonly<Record<string, number>>): void;
  notice(message: string): void;
  /** What the job waits for, told once a second; undefined when it goes on. */
  waiting(what: string | undefined): void;
  checkpoint(steps: number, file: string): void;
  finish(end: JobEnd): void;
  stop(): void;
}

export const quietView: View = {
  start() {},
  update() {},
  evaluation() {},
  heldOut() {},
  notice() {},
  waiting() {},
  checkpoint() {},
  finish() {},
  stop() {},
};

/** One JSON object for each event. */
export function jsonView(
  write: (line: string) => void,
  isDue: () => boolean,
  total: Total,
  { stepUnit, scoreName }: JobTerms,
): View {
  const event = (name: string, fields: object) => write(JSON.stringify({ event: name, ...fields }));
  return {
    start: ({ steps }) => event('start', { steps, stepUnit, ...total }),
    update: ({ steps, ...state }) => {
      if (isDue()) event('progress', { steps, stepUnit, ...state, scoreName, ...total });
    },
    evaluation: (record) => {
      const { scores } = record;
      event('evaluation', { ...record, meanScore: mean(scores), stdScore: standardDeviation(scores) });
    },
    heldOut: (steps, values) => event('heldOut', { steps, stepUnit, values }),
    notice: (message) => event('notice', { message }),
    waiting: (what) => {
      if (what !== undefined && isDue()) event('waiting', { message: what });
    },
    checkpoint: (steps, file) => event('checkpoint', { steps, stepUnit, file }),
    finish: ({ summary, files }) => event('finish', { summary, files }),
    stop() {},
  };
}

/** Plain lines, for logs. */
export function linesView(
  write: (line: string) => void,
  isDue: () => boolean,
  total: Total,
  terms: JobTerms,
): View {
  return {
    ...quietView,
    ...messages(write, terms),
    update: (state) => {
      if (isDue()) write(describeState(state, total, terms));
    },
    waiting: (what) => {
      if (what !== undefined && isDue()) write(capitalized(what));
    },
  };
}

/** A bar at the bottom of a terminal, with messages scrolling above it. */
export function barView(stream: NodeJS.WritableStream, label: string, total: Total, terms: JobTerms): View {
  const bars = new cliProgress.MultiBar({
    stream,
    format: `${label}{bar} {percentage}% · {text}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    hideCursor: true,
    // The run handles signals itself: it saves a checkpoint first.
    gracefulExit: false,
    clearOnComplete: true,
    linewrap: false,
    fps: 5,
  });
  let bar: cliProgress.SingleBar | undefined;
  const stop = () => {
    if (bar === undefined) return;
    process.off('exit', stop);
    bars.update();
    bar = undefined;
    bars.stop();
  };
  const write = (line: string) =>
    bar === undefined ? void stream.write(`${line}\n`) : bars.log(`${line}\n`);
  const { evaluation, heldOut, notice, finish } = messages(write, terms);
  let current: JobState | undefined;
  let waiting: string | undefined;
  const payload = (state: JobState) => ({ text: waiting ?? describeState(state, total, terms) });
  const showBar = () => {
    if (current === undefined) return;
    const { done, all } = totalOf(current, total, terms);
    bar?.update(Math.min(done, all), payload(current));
  };
  return {
    start: (state) => {
      current = state;
      const { done, all } = totalOf(state, total, terms);
      bar = bars.create(all, done, payload(state));
      // However the program ends, the terminal must get its cursor back.
      process.once('exit', stop);
    },
    update: (state) => {
      current = state;
      showBar();
    },
    evaluation,
    heldOut,
    notice,
    waiting: (what) => {
      waiting = what;
      showBar();
    },
    checkpoint() {},
    finish: (end) => {
      stop();
      finish(end);
    },
    stop,
  };
}

/** The messages that people get with and without a bar. */
function messages(
  write: (line: string) => void,
  terms: JobTerms,
): Pick<View, 'evaluation' | 'heldOut' | 'notice' | 'finish'> {
  const { scoreName } = terms;
  return {
    evaluation: ({ steps, scores }) => {
      const score = describeScore(scores.length, mean(scores), standardDeviation(scores), terms);
      write(`Evaluation at ${formatCount(steps)} ${terms.steps}: ${scoreName} ${score}`);
    },
    heldOut: (steps, values) =>
      write(`Held out at ${formatCount(steps)} ${terms.steps}: ${describeHeldOut(values)}`),
    notice: write,
    finish: ({ summary, files, heldOut }) => {
      const { steps, updates, wallSeconds, evaluation } = summary;
      const { scoreCount, meanScore, stdScore } = evaluation;
      const { best } = summary;
      const counted = terms.stepUnit === 'updates' ? '' : `${formatCount(steps)} ${terms.steps}, `;
      write(`Done: ${counted}${formatCount(updates)} updates in ${formatDuration(wallSeconds)}`);
      if (scoreCount > 0)
        write(`${capitalized(scoreName)} ${describeScore(scoreCount, meanScore, stdScore, terms)}`);
      if (best !== undefined) {
        const { scoreCount: count, meanScore: center, stdScore: spread } = best;
        write(
          `Best ${scoreName} ${describeScore(count, center, spread, terms)}, at ${formatCount(best.steps)} ${terms.steps}`,
        );
        write(`Policies: ${shortPath(files.policy)} (the last), ${shortPath(files.bestPolicy)} (the best)`);
      } else if (terms.hasPolicyFile) write(`Policy: ${shortPath(files.policy)}`);
      if (heldOut !== undefined) write(`Held out: ${describeHeldOut(heldOut)}`);
      write(`Report: ${shortPath(files.report)}`);
    },
  };
}

/** The part of a job that is done and its whole, in the unit that ends the job. */
export function totalOf(
  { steps, updates }: Pick<JobState, 'steps' | 'updates'>,
  total: Total,
  terms: JobTerms,
): { readonly unit: string; readonly done: number; readonly all: number } {
  return 'totalSteps' in total
    ? { unit: terms.steps, done: steps, all: total.totalSteps }
    : { unit: 'updates', done: updates, all: total.totalUpdates };
}

function describeState(state: JobState, total: Total, terms: JobTerms): string {
  const { unit, done, all } = totalOf(state, total, terms);
  const parts = [
    `${formatCount(done)} / ${formatCount(all)} ${unit}`,
    `${formatCount(state.stepsPerSecond)} ${terms.steps}/s`,
    `${formatDuration(state.secondsLeft)} left`,
    `${terms.scoreName} ${formatNumber(state.lastScore)}`,
  ];
  return parts.join(' · ');
}

function describeScore(count: number, center: number, spread: number, terms: JobTerms): string {
  return `${formatNumber(center)} ± ${formatNumber(spread)} over ${count} ${count === 1 ? terms.episode : terms.episodes}`;
}

function describeHeldOut(values: Readonly<Record<string, number>>): string {
  const parts = Object.entries(values).map(
    ([name, value]) => `${name.replace(/^(heldOut|evaluation)\//, '')} ${formatNumber(value)}`,
  );
  return parts.join(' · ');
}

/** A path relative to the current folder, if it is inside it. */
function shortPath(path: string): string {
  const fromHere = relative('', path);
  return fromHere.startsWith('..') || isAbsolute(fromHere) ? path : fromHere;
}
