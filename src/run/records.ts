import type { ChatMessage } from '../core/chat.js';
import { type JobKind, jobTerms, type ScoreName, type StepUnit } from './job-terms.js';

/**
 * The records of a run: the lines of `metrics.jsonl` and the contents of `summary.json`. Control and language jobs share
 * one schema, in which the unit of the steps and the name of the score tell them apart.
 */

/** A moment of a job. */
export interface Moment {
  /** Environment steps taken, or completions learned from; `stepUnit` says which. */
  readonly steps: number;
  readonly stepUnit: StepUnit;
  readonly updates: number;
  readonly wallSeconds: number;
}

/** Metrics at one moment, named by the field's terms with a group in front: `policy/kl`, `critic/loss`. */
export interface MetricRecord extends Moment {
  readonly values: Readonly<Record<string, number>>;
}

/** One evaluation of the policy: the undiscounted return of each episode, or the reward of each completion. */
export interface EvaluationRecord extends Moment {
  readonly scoreName: ScoreName;
  readonly scores: readonly number[];
}

/** The evaluation with the highest mean score. */
export interface BestEvaluation {
  readonly steps: number;
  readonly updates: number;
  readonly scoreCount: number;
  readonly meanScore: number;
  readonly stdScore: number;
}

/** The contents of `summary.json`, written when a run has ended. */
export interface RunSummary extends Moment {
  readonly operator: string;
  readonly feedback: string;
  /** The simulator or the address of a control run, the kind of model of a language run. */
  readonly environment: string;
  readonly seed: number;
  readonly evaluation: {
    readonly scoreName: ScoreName;
    readonly scoreCount: number;
    readonly meanScore: number;
    readonly stdScore: number;
  };
  /** Of control runs, whose best policy is kept; absent in those of earlier versions. */
  readonly best?: BestEvaluation;
}

/** A line of `metrics.jsonl`. NaN and infinite numbers are null there, because JSON cannot hold them. */
export type RecordLine =
  | ({ readonly kind: 'metrics' } & MetricRecord)
  | ({
      readonly kind: 'evaluation';
      readonly meanScore: number;
      readonly stdScore: number;
    } & EvaluationRecord)
  | { readonly kind: 'notice'; readonly time: string; readonly message: string };

/** A completion of a held-out prompt. */
export interface EvaluatedCompletion {
  /** A text, or all messages of a chat, because chats with the same last message may differ before it. */
  readonly prompt: string | readonly ChatMessage[];
  readonly completion: string;
  readonly finishReason: string;
  /** Its reward; absent if it could not be judged. */
  readonly evaluation?: number;
}

/** Everything that a language model wrote in one evaluation: a file in `completions/`, one line for each completion. */
export interface LanguageEvaluation {
  /** Number of updates before it. */
  readonly updates: number;
  readonly completions: readonly EvaluatedCompletion[];
}

type Fields = Readonly<Record<string, unknown>>;

/** The keys of earlier versions, which had the terms of control jobs for language jobs, too. */
const formerKeys: Readonly<Record<string, string>> = {
  environmentSteps: 'steps',
  episodes: 'scoreCount',
  returns: 'scores',
  meanReturn: 'meanScore',
  stdReturn: 'stdScore',
};

/** Their names for metrics of language jobs. */
const formerLanguageMetrics: Readonly<Record<string, string>> = {
  'acting/return': 'acting/reward',
  'acting/stdReturn': 'acting/stdReward',
};

/** MPO's name for its M-step loss, which is `policy/mStepLoss` now that `policy/loss` is the total of every operator. */
function withMStepLoss(values: Fields): Fields {
  const isFormerMpo = 'policy/temperatureLoss' in values && !('policy/mStepLoss' in values);
  return isFormerMpo ? renameKeys(values, { 'policy/loss': 'policy/mStepLoss' }) : values;
}

function renameKeys(fields: Fields, names: Readonly<Record<string, string>>): Fields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [names[key] ?? key, value]));
}

/** Whether a line of `metrics.jsonl` is one of its records. */
export function isRecord(line: string): boolean {
  try {
    const value = JSON.parse(line) as { kind?: unknown } | null;
    return typeof value?.kind === 'string';
  } catch {
    return false;
  }
}

/**
 * Reads a record, a summary or the evaluation in a checkpoint, written by this version or by an earlier one, in which both
 * kinds of jobs counted `environmentSteps` and called their scores returns.
 *
 * @param fields the parsed JSON.
 * @param kind the kind of the job that wrote it, which earlier records do not say.
 */
export function readRecord<Read extends RecordLine | RunSummary | EvaluationRecord>(
  fields: object,
  kind: JobKind,
): Read {
  if (!('environmentSteps' in fields)) return fields as Read;
  const { stepUnit, scoreName } = jobTerms[kind];
  const { evaluation, values, ...former } = fields as Fields & { evaluation?: Fields; values?: Fields };
  const current: object = {
    ...renameKeys(former, formerKeys),
    stepUnit,
    ...('returns' in former ? { scoreName } : {}),
    ...(evaluation === undefined ? {} : { evaluation: { scoreName, ...renameKeys(evaluation, formerKeys) } }),
    ...(values === undefined
      ? {}
      : { values: withMStepLoss(kind === 'language' ? renameKeys(values, formerLanguageMetrics) : values) }),
  };
  return current as Read;
}
