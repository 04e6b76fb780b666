import { chatText } from '../core/chat.js';
import { formatNumber } from '../core/format.js';
import { mean } from '../core/statistics.js';
import type { EvaluatedCompletion, LanguageEvaluation } from '../run/records.js';
import { escapeHtml, htmlPage } from './html.js';

/** A page with the completions of held-out prompts from before and after training. */

export interface CompletionsOptions {
  readonly title: string;
  /** The command that made the run, printed on the page. */
  readonly command: string;
}

const style = `<style>
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1px;background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden;margin:0 0 18px}
.pair>*{background:var(--card);padding:14px 18px;min-width:0}
.pair .prompt{grid-column:1/-1;color:var(--muted);white-space:pre-wrap;overflow-wrap:anywhere}
.pair p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
.pair .reward{color:var(--muted);font-size:12.5px;margin-top:8px;font-variant-numeric:tabular-nums}
@media(max-width:700px){.pair{grid-template-columns:1fr}}
</style>`;

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

/**
 * Renders a self-contained HTML page with every held-out prompt, in their order, and its completions before and after
 * training.
 */
export function renderCompletions(
  before: LanguageEvaluation,
  after: LanguageEvaluation,
  { title, command }: CompletionsOptions,
): string {
  const pairs = after.completions.map((now, i) => {
    const then = before.completions[i];
    const was = `before`;
    const is = `after ${after.updates} updates`;
    return `<section class="pair"><div class="prompt">${escapeHtml(promptText(now))}</div>${then === undefined ? '<div></div>' : side(then, was)}${side(now, is)}</section>`;
  });
  const body = [
    style,
    `<header><p class="eyebrow">Completions of held-out prompts</p><h1>${escapeHtml(title)}</h1>`,
    `<p class="lead">Left: the base model, mean reward ${meanOf(before)}. Right: after ${after.updates} updates, mean reward ${meanOf(after)}. Prompts and seeds are the same.</p></header>`,
    ...pairs,
    `<pre class="command" tabindex="0">${escapeHtml(command)}</pre>`,
  ];
  return htmlPage(`${title} · completions · pmpo`, body.join('\n'));
}
