import type { LoadedLanguageConfig } from '../config/load.js';
import { PmpoError } from '../core/errors.js';
import { formatCount } from '../core/format.js';
import type { EvaluatedContext } from '../learners/language/batch.js';
import type { Operator, OperatorNeeds } from '../operators/operator.js';

/** Checks that a data set holds what an operator and a classifier take from it, and nothing that they would turn into its opposite. */

/** What a data set is checked against. */
export interface DatasetUse {
  /** The file or folder, for messages. */
  readonly source: string;
  readonly operator: { readonly name: string } & Pick<Operator, 'needs' | 'warnings'>;
  readonly feedback: {
    readonly name: string;
    readonly readsLabels?: boolean;
    /** The plugin that it is from; undefined if it is built in. */
    readonly plugin?: string;
  };
  readonly evaluations: 'labels' | 'scores';
  /** The share of its probability at which a rejected completion is pushed down no further; 0: there is no floor. */
  readonly rejectedFloor: number;
}

/** The number of completions in the largest context; at least 1. */
export function largestContext(contexts: readonly EvaluatedContext[]): number {
  return contexts.reduce((most, { completions }) => Math.max(most, completions.length), 1);
}

/** How many completions of a context are accepted (1) or rejected (−1) by their labels. */
const on = (sign: 1 | -1, { completions }: EvaluatedContext) =>
  completions.filter(({ evaluation = 0 }) => evaluation * sign > 0).length;

/** How many completions are accepted and rejected, and how many contexts have both. */
interface Sides {
  readonly accepted: number;
  readonly rejected: number;
  readonly pairs: number;
}

function sidesOf(contexts: readonly EvaluatedContext[]): Sides {
  const sides = { accepted: 0, rejected: 0, pairs: 0 };
  for (const context of contexts) {
    const [accepted, rejected] = [on(1, context), on(-1, context)];
    sides.accepted += accepted;
    sides.rejected += rejected;
    if (accepted > 0 && rejected > 0) sides.pairs += 1;
  }
  return sides;
}

/** Remedies for a data set without accepted completions, rejected completions, or pairs. */
const remedies = {
  accepted: 'Choose an operator that learns from rejected completions only, such as {name: pmpo, alpha: 0}',
  rejected: 'Choose an operator that learns from accepted completions only, such as {name: pmpo, alpha: 1}',
  paired: 'Choose an operator that needs no pairs, such as {name: pmpo}',
} as const;

/** The contexts without accepted completions are left out if the operator would imitate what they have. */
function withoutImitatedRejects(
  contexts: readonly EvaluatedContext[],
  { source, operator: { name } }: DatasetUse,
  notice: (message: string) => void,
): readonly EvaluatedContext[] {
  const kept = contexts.filter((context) => on(1, context) > 0 || on(-1, context) === 0);
  const left = contexts.length - kept.length;
  if (kept.length === 0) {
    throw new PmpoError({
      where: source,
      what: `every prompt has rejected completions only, and the operator '${name}' raises the likelihood of the best completions of a prompt, even if all were rejected`,
      remedy: remedies.accepted,
    });
  }
  if (left > 0) {
    notice(
      `Warning: ${source} has prompts with rejected completions only: ${formatCount(left)} of ${formatCount(contexts.length)}. They are left out, because the operator '${name}' would raise the likelihood of their completions`,
    );
  }
  return kept;
}

/** Says which completions an operator does not read. @param contexts their number. */
function warnOfUnused(
  contexts: number,
  { accepted, rejected, pairs }: Sides,
  { source, operator: { name, needs } }: DatasetUse,
  notice: (message: string) => void,
): void {
  const unused = (completions: number, what: string, from: string) => {
    if (completions > 0)
      notice(
        `Warning: the operator '${name}' learns from ${from} only. The ${formatCount(completions)} ${what} of ${source} are not used`,
      );
  };
  if (needs.feedback === 'accepts') unused(rejected, 'rejected completions', 'accepted completions');
  if (needs.feedback === 'rejects') unused(accepted, 'accepted completions', 'rejected completions');
  if (needs.feedback === 'pairs') unused(contexts - pairs, 'rows with one side', 'pairs');
}

/** Gives the operator's warnings for the smallest share of rejected completions in a context that has any. */
function warnOfShare(
  contexts: readonly EvaluatedContext[],
  { source, operator, rejectedFloor }: DatasetUse,
  notice: (message: string) => void,
): void {
  if (operator.needs.rejectsReferenceSamples === true && rejectedFloor > 0) return;
  const shares = contexts
    .map((context) => on(-1, context) / (on(1, context) + on(-1, context)))
    .filter((share) => share > 0);
  if (shares.length === 0) return;
  const rejectShare = shares.reduce((least, share) => Math.min(least, share), 1);
  const warnings = operator.warnings?.({ rejectShare, samples: largestContext(contexts) }) ?? [];
  for (const warning of warnings)
    notice(
      `Warning: in the prompts of ${source} with the smallest share of rejected completions, ${warning}`,
    );
}

/** What an operator learns from and the data lack; undefined if they lack nothing. */
function lackingOf(
  feedback: OperatorNeeds['feedback'],
  { accepted, rejected, pairs }: Sides,
): keyof typeof remedies | undefined {
  if (feedback === 'pairs') return pairs === 0 ? 'paired' : undefined;
  const needsBoth = feedback === 'both';
  if (accepted === 0 && (feedback === 'accepts' || needsBoth)) return 'accepted';
  return rejected === 0 && (feedback === 'rejects' || needsBoth) ? 'rejected' : undefined;
}

/** @throws PmpoError if the operator lacks the completions that it learns from. */
function checkSides(
  sides: Sides,
  { source, operator: { name, needs } }: DatasetUse,
  notice: (message: string) => void,
): void {
  const { accepted, rejected, pairs } = sides;
  if (accepted + rejected === 0) {
    throw new PmpoError({
      where: source,
      what: 'all labels are 0, which says of no completion that it is accepted or rejected',
      remedy:
        'Label accepted completions 1 and rejected ones −1, or say what the values mean by language.dataset.labels',
    });
  }
  const lacking = lackingOf(needs.feedback, sides);
  if (lacking !== undefined) {
    throw new PmpoError({
      where: source,
      what: `the operator '${name}' learns from ${lacking} completions, but there are none (${accepted} accepted, ${rejected} rejected, ${pairs} contexts with both)`,
      remedy: remedies[lacking],
    });
  }
  const other = accepted === 0 ? 'accepted' : rejected === 0 ? 'rejected' : undefined;
  if (needs.feedback === 'either' && other !== undefined) {
    notice(`Warning: ${source} has no ${other} completions. The operator learns from the other side only`);
  }
}

/**
 * Labels mean nothing to a feedback that reads scores: the threshold 2 would reject every completion, and −2 accept every one. What a
 * plugin reads in them is its own matter.
 * @throws PmpoError if the feedback is built in.
 */
function checkReadsLabels(
  { source, feedback: { name, plugin } }: DatasetUse,
  notice: (message: string) => void,
) {
  if (plugin !== undefined) {
    notice(
      `Warning: ${source} has labels. The feedback '${name}' gets 1 for an accepted and −1 for a rejected completion as evaluations`,
    );
    return;
  }
  throw new PmpoError({
    where: source,
    what: `the rows have labels, but the feedback '${name}' reads scores`,
    remedy:
      'Set feedback: {name: label}, or omit it; if the numbers are scores, name their column by language.dataset.columns: {score: …}',
  });
}

/**
 * Checks a data set against the operator and the feedback of a job.
 * @returns the contexts to learn from and to evaluate on: all, except those that the operator would use against their meaning.
 * @throws PmpoError if the operator or the feedback needs what the data lack, or would use them against their meaning.
 */
export function checkDataset(
  contexts: readonly EvaluatedContext[],
  use: DatasetUse,
  notice: (message: string) => void,
): readonly EvaluatedContext[] {
  const { source, operator, feedback, evaluations } = use;
  const { needs } = operator;
  const isLabeled = evaluations === 'labels';
  const imitates = needs.imitatesUnranked === true;
  if (needs.comparesSamples === true && largestContext(contexts) < 2) {
    throw new PmpoError({
      where: source,
      what: `the operator '${operator.name}' compares the completions of a prompt, and every prompt has one`,
      remedy: 'Choose an operator that needs no pairs, such as {name: pmpo}',
    });
  }
  // Operators that read evaluations themselves need no feedback: a score is what they are made for.
  if (needs.feedback === 'none') {
    return isLabeled && imitates ? withoutImitatedRejects(contexts, use, notice) : contexts;
  }
  if (feedback.readsLabels !== true) {
    if (isLabeled) checkReadsLabels(use, notice);
    return contexts;
  }
  if (!isLabeled) {
    throw new PmpoError({
      where: source,
      what: 'the completions have scores and no labels, and a score does not say what is accepted and what is rejected',
      remedy:
        'Set feedback: {name: threshold, value: …}, which accepts completions of at least that score, or feedback: {name: top-k}, which accepts the best and rejects the worst completions of each prompt',
    });
  }
  const sides = sidesOf(contexts);
  checkSides(sides, use, notice);
  warnOfUnused(contexts.length, sides, use, notice);
  warnOfShare(contexts, use, notice);
  return contexts;
}

/** What the job of a configuration does with its data set, whose completions have these evaluations. */
export function datasetUse(
  { config, operator, catalogue }: LoadedLanguageConfig,
  evaluations: DatasetUse['evaluations'],
): DatasetUse {
  const { file, rejectedFloor } = config.language.dataset!;
  const feedback = catalogue.feedback.get(config.feedback.name);
  return { source: file, operator, feedback, evaluations, rejectedFloor };
}
