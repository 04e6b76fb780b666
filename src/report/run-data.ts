import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { PmpoError } from '../core/errors.js';
import { mean, standardDeviation } from '../core/statistics.js';
import { readAllCompletions } from '../run/completion-files.js';
import type { EpisodeName, EvaluatedEpisode } from '../run/evaluated-episode.js';
import { type JobKind, type JobTerms, jobKind, jobTerms } from '../run/job-terms.js';
import type { RunStart } from '../run/provenance.js';
import {
  type EvaluationRecord,
  isRecord,
  type LanguageEvaluation,
  type MetricRecord,
  type RecordLine,
  type RunSummary,
  readRecord,
} from '../run/records.js';
import { openRunDirectory, type RunDirectory } from '../run/run-directory.js';
import { fileProblem } from '../system/atomic-file.js';

/** `unfinished`: it was stopped, or is still running. `diverged`: it recorded numbers that are not finite. */
export type RunStatus = 'finished' | 'unfinished' | 'diverged';

/** The data of one run for a report, read from the files in the run's folder. */
export interface RunData {
  readonly name: string;
  /** Runs with the same label are compared as seeds of one group. */
  readonly label: string;
  readonly operator: string;
  readonly feedback: string;
  readonly environment: string;
  readonly kind: JobKind;
  readonly seed: number;
  readonly status: RunStatus;
  /** The text of config.yaml, and what it holds. */
  readonly config: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** When and where it was started and resumed. */
  readonly starts?: readonly RunStart[];
  readonly summary?: RunSummary;
  /** In the order of recording. Every number that was not finite is NaN. */
  readonly metrics: readonly MetricRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  readonly notices: readonly { readonly time: string; readonly message: string }[];
  /** Episodes of its evaluations, in the order of their policies: the first, the best and the last, as far as they differ. */
  readonly episodes?: readonly PlayedEpisode[];
  /** Of language runs: what was written in each evaluation, in their order. */
  readonly completions?: readonly LanguageEvaluation[];
}

/** An episode of an evaluation. */
export interface PlayedEpisode extends EvaluatedEpisode {
  readonly names: readonly EpisodeName[];
}

export interface ReadRunOptions {
  /** Default: the name of the operator. */
  readonly label?: string;
  /** True if the run is known to have diverged, although its records end before that. */
  readonly diverged?: boolean;
}

/**
 * Parses the lines of `metrics.jsonl`. A last line without a line end is still being written, and is left out; so are damaged
 * lines, in whose place the report has a notice.
 */
function parseLines(text: string, kind: JobKind): RecordLine[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line, index) =>
      isRecord(line)
        ? readRecord<RecordLine>(JSON.parse(line) as object, kind)
        : { kind: 'notice', time: '', message: `Line ${index + 1} of metrics.jsonl is damaged and left out` },
    );
}

/** The episodes of evaluations that the run has recorded: those left from others, before a resumption, do not count. */
async function readEpisodes(
  directory: RunDirectory,
  evaluations: readonly EvaluationRecord[],
  onDamage: (message: string) => void,
): Promise<PlayedEpisode[]> {
  const found = new Map<number, PlayedEpisode>();
  for (const name of ['first', 'best', 'last'] as const) {
    const episode = await directory.readEpisode(name, onDamage);
    if (episode === undefined || !evaluations.some(({ steps }) => steps === episode.steps)) continue;
    const names = [...(found.get(episode.steps)?.names ?? []), name];
    found.set(episode.steps, { ...episode, names });
  }
  return [...found.values()].sort((a, b) => a.steps - b.steps);
}

/** The number that JSON holds, with null for one that was not finite. */
function restored(value: number | null): number {
  return value ?? Number.NaN;
}

interface ConfigFacts extends Readonly<Record<string, unknown>> {
  readonly operator?: { readonly name?: string };
  readonly feedback?: { readonly name?: string };
  readonly environment?: { readonly simulator?: string; readonly address?: string | readonly string[] };
  readonly language?: { readonly model?: { readonly name?: string } };
  readonly seed?: number;
}

function parseConfig(file: string, text: string): ConfigFacts {
  try {
    return (parse(text) ?? {}) as ConfigFacts;
  } catch (cause) {
    throw new PmpoError({ where: file, what: `it is not YAML: ${(cause as Error).message}`, cause });
  }
}

/**
 * Reads the folder of a run for a report. Folders written by earlier versions are read as well.
 * @throws PmpoError if it is not the folder of a run or one of its files is damaged.
 */
export async function readRun(
  path: string,
  { label, diverged = false }: ReadRunOptions = {},
): Promise<RunData> {
  const directory = await openRunDirectory(path);
  const config = await directory.readConfig();
  const facts = parseConfig(directory.files.config, config);
  const kind = jobKind(facts);
  const summary = await directory.readSummary(kind);
  const text = await readFile(directory.files.metrics, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return '';
    throw fileProblem(directory.files.metrics, 'reading it', cause);
  });
  const lines = parseLines(text, kind);
  const metrics = lines.flatMap((line) => {
    if (line.kind !== 'metrics') return [];
    const values = Object.entries(line.values).map(([name, value]) => [name, restored(value)] as const);
    return [{ ...line, values: Object.fromEntries(values) }];
  });
  const evaluations = lines.flatMap((line) =>
    line.kind === 'evaluation' ? [{ ...line, scores: line.scores.map(restored) }] : [],
  );
  const finite =
    metrics.every(({ values }) => Object.values(values).every(Number.isFinite)) &&
    evaluations.every(({ scores }) => scores.every(Number.isFinite));
  const damages: RunData['notices'][number][] = [];
  const onDamage = (message: string) => void damages.push({ time: '', message });
  const starts = await directory.readStarts(onDamage);
  const episodes = await readEpisodes(directory, evaluations, onDamage);
  const operator = facts.operator?.name ?? summary?.operator ?? 'unknown';
  return {
    name: directory.name,
    label: label ?? operator,
    operator,
    feedback: facts.feedback?.name ?? summary?.feedback ?? 'unknown',
    environment:
      facts.environment?.simulator ??
      facts.environment?.address?.toString() ??
      facts.language?.model?.name ??
      summary?.environment ??
      'unknown',
    kind,
    seed: facts.seed ?? summary?.seed ?? 0,
    status: diverged || !finite ? 'diverged' : summary === undefined ? 'unfinished' : 'finished',
    config,
    settings: facts,
    starts,
    ...(kind === 'language' ? { completions: await readAllCompletions(directory.files.completions) } : {}),
    summary,
    metrics,
    evaluations,
    notices: [...lines.flatMap((line) => (line.kind === 'notice' ? [line] : [])), ...damages],
    episodes,
  };
}

/** The outcome of a run: its summary, or the state of its last records if it has no summary yet. */
export interface RunOutcome {
  readonly steps: number;
  readonly updates: number;
  readonly wallSeconds: number;
  readonly scoreCount: number;
  /** NaN before the first evaluation and for a run that diverged. */
  readonly meanScore: number;
  readonly stdScore: number;
}

export function outcomeOf(run: RunData): RunOutcome {
  const { summary } = run;
  const lastEvaluation = run.evaluations.at(-1);
  const last = [run.metrics.at(-1), lastEvaluation].reduce((a, b) =>
    (b?.steps ?? -1) >= (a?.steps ?? -1) ? b : a,
  );
  const scores = lastEvaluation?.scores ?? [];
  const reached = summary?.evaluation ?? {
    scoreCount: scores.length,
    meanScore: mean(scores),
    stdScore: standardDeviation(scores),
  };
  const diverged = run.status === 'diverged';
  return {
    steps: summary?.steps ?? last?.steps ?? 0,
    updates: summary?.updates ?? last?.updates ?? 0,
    wallSeconds: summary?.wallSeconds ?? last?.wallSeconds ?? 0,
    scoreCount: reached.scoreCount,
    meanScore: diverged ? Number.NaN : restored(reached.meanScore),
    stdScore: diverged ? Number.NaN : restored(reached.stdScore),
  };
}

/** The terms for runs of one kind. */
export function termsOf(runs: readonly Pick<RunData, 'kind'>[]): JobTerms {
  return jobTerms[runs[0]?.kind ?? 'control'];
}
