import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { PmpoError } from '../core/errors.js';
import { mean, standardDeviation } from '../core/statistics.js';
import { type JobKind, type JobTerms, jobKind, jobTerms } from '../run/job-terms.js';
import {
  type EvaluationRecord,
  type MetricRecord,
  type RecordLine,
  type RunSummary,
  readRecord,
} from '../run/records.js';
import { openRunDirectory } from '../run/run-directory.js';
import { fileProblem } from '../system/atomic-file.js';

/** `unfinished`: it was stopped, or is still going. `diverged`: numbers that are not finite were recorded. */
export type RunStatus = 'finished' | 'unfinished' | 'diverged';

/** Everything that a report tells of one run, read from the files that the run left behind. */
export interface RunData {
  readonly name: string;
  /** What runs are compared by: those with the same label differ in their seed only. */
  readonly label: string;
  readonly operator: string;
  readonly feedback: string;
  readonly environment: string;
  readonly kind: JobKind;
  readonly seed: number;
  readonly status: RunStatus;
  /** The text of config.yaml. */
  readonly config: string;
  readonly summary?: RunSummary;
  /** In the order recorded; NaN stands for every number that was not finite. */
  readonly metrics: readonly MetricRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  readonly notices: readonly { readonly time: string; readonly message: string }[];
}

export interface ReadRunOptions {
  /** Default: the operator's name. */
  readonly label?: string;
  /** True when whoever ran it knows that it diverged, though its records ended before. */
  readonly diverged?: boolean;
}

/** The lines of `metrics.jsonl`; a last line without its end was being written and does not count yet. */
function parseLines(file: string, text: string, kind: JobKind): RecordLine[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line, index) => {
      try {
        return readRecord<RecordLine>(JSON.parse(line) as object, kind);
      } catch (cause) {
        throw new PmpoError({ where: `${file}:${index + 1}`, what: 'the line is not JSON', cause });
      }
    });
}

/** JSON holds null for a number that was not finite. */
function restored(value: number | null): number {
  return value ?? Number.NaN;
}

interface ConfigFacts {
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
 * Reads a run's folder.
 * @throws PmpoError when it is not the folder of a run or one of its files is damaged.
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
  const lines = parseLines(directory.files.metrics, text, kind);
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
    summary,
    metrics,
    evaluations,
    notices: lines.flatMap((line) => (line.kind === 'notice' ? [line] : [])),
  };
}

/** How far a run came and what it reached: its summary, or where there is none yet, its last records. */
export interface RunOutcome {
  readonly steps: number;
  readonly updates: number;
  readonly wallSeconds: number;
  readonly scoreCount: number;
  /** NaN before the first evaluation, and for a run that diverged. */
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

/** The words for what runs of one kind count and reach. */
export function wordsOf(runs: readonly Pick<RunData, 'kind'>[]): JobTerms {
  return jobTerms[runs[0]?.kind ?? 'control'];
}
