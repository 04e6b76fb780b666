import { chatText } from '../core/chat.js';
import { formatCount, formatNumber } from '../core/format.js';
import { mean } from '../core/statistics.js';
import { type TextDiversity, textDiversity } from '../core/text-diversity.js';
import type { EvaluatedCompletion, LanguageEvaluation } from '../run/records.js';
import { escapeHtml, htmlCommand, htmlPage } from './html.js';

/** A page with the completions of held-out prompts from before and after training. */

export interface CompletionsOptions {
  readonly title: string;
  /** The command that made the run, printed on the page. */
  readonly command: string;
}

function side({ completion, evaluation, finishReason }: EvaluatedCompletion, when: string): string {
  const reward = evaluation === undefined ? 'not judged' : `reward ${formatNumber(evaluation)}`;
  const cut = finishReason === 'length' ? ', cut off at the maximum length' : '';
  const text = completion === '' ? '<span class="muted">(empty)</span>' : escapeHtml(completion);
  return `<div><p>${text}</p><div class="reward">${when}, ${reward}${cut}</div></div>`;
}

const promptText = ({ prompt }: EvaluatedCompletion) =>
  typeof prompt === 'string' ? prompt : chatText(prompt);

function meanOf({ completions }: LanguageEvaluation): string {
  return formatNumber(mean(completions.flatMap(({ evaluation }) => evaluation ?? [])));
}

/** The prompts with both completions, each a section of a page. */
export function completionPairs(before: LanguageEvaluation, after: LanguageEvaluation): string[] {
  return after.completions.map((now, i) => {
    const then = before.completions[i];
    const is = `after ${formatCount(after.updates)} updates`;
    return `<section class="pair"><div class="prompt">${escapeHtml(promptText(now))}</div>${then === undefined ? '<div></div>' : side(then, 'before')}${side(now, is)}</section>`;
  });
}

/** What the pairs are, in a sentence. */
export function pairsNote(before: LanguageEvaluation, after: LanguageEvaluation): string {
  return `Left: the base model, mean reward ${meanOf(before)}. Right: after ${formatCount(after.updates)} updates, mean reward ${meanOf(after)}. Prompts and seeds are the same.`;
}

/**
 * Renders a self-contained HTML page with every held-out prompt, in their order, and its completions before and after
 * training.
 */
export function renderCompletions(
  before: LanguageEvaluation,
  after: LanguageEvaluation,
  { title, command }: CompletionsOptions,
): string {
  const body = [
    `<header><p class="eyebrow">Completions of held-out prompts</p><h1>${escapeHtml(title)}</h1>`,
    `<p class="lead">${pairsNote(before, after)}</p></header>`,
    ...completionPairs(before, after),
    htmlCommand(command),
  ];
  return htmlPage(`${title} · completions · pmpo`, body.join('\n'));
}

/** What can be said of the completions of one evaluation without judging them. */
export interface CompletionFacts extends TextDiversity {
  /** The share that was cut off at the maximum length. */
  readonly cut: number;
}

/** The facts of an evaluation's completions. NaN where there are none. */
export function completionFacts({ completions }: LanguageEvaluation): CompletionFacts {
  return {
    ...textDiversity(completions.map(({ completion }) => completion)),
    cut: mean(completions.map(({ finishReason }) => (finishReason === 'length' ? 1 : 0))),
  };
}
