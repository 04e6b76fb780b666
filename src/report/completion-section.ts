import { formatCount, formatNumber } from '../core/format.js';
import { type CompletionFacts, completionFacts, completionPairs, pairsNote } from './completions.js';
import { drawSvg } from './draw.js';
import { cardGrid, folded, htmlTable } from './html.js';
import type { RunData } from './run-data.js';
import { metricChart, smallChart } from './specs.js';
import { diversityChart, lengthChart, rewardHistogram } from './text-charts.js';

/** The part of a report with what a language model writes. */

/** The pairs of completions that are open at first. */
const openPairs = 4;

/** What a language run wrote: completions before and after, the rewards' distribution, length and diversity. */
export async function completionSection(runs: readonly RunData[]): Promise<string> {
  const [run] = runs;
  const all = run?.completions ?? [];
  const [before, after] = [all[0], all.at(-1)];
  if (runs.length !== 1 || before === undefined || after === undefined || before === after) return '';
  const facts = all.map(completionFacts);
  const row = (name: string, of: (own: CompletionFacts) => number) =>
    [name, formatNumber(of(facts[0]!)), formatNumber(of(facts.at(-1)!))] as const;
  const rows = [
    row('Words', ({ words }) => words),
    row('Distinct words (distinct-1)', ({ distinct1 }) => distinct1),
    row('Distinct pairs of words (distinct-2)', ({ distinct2 }) => distinct2),
    row('Likeness to each other (self-BLEU)', ({ selfBleu }) => selfBleu),
    row('Repetition within a completion (seq-rep-4)', ({ repetition }) => repetition),
    row('Share cut off at the maximum length', ({ cut }) => cut),
  ];
  const table = htmlTable(
    [
      { head: 'Held-out completions', text: true, cell: ([name]: (typeof rows)[number]) => name },
      { head: 'Before', cell: ([, value]: (typeof rows)[number]) => value },
      {
        head: `After ${formatCount(after.updates)} updates`,
        cell: ([, , value]: (typeof rows)[number]) => value,
      },
    ],
    rows,
    { caption: 'What is written' },
  );
  const charts = [
    metricChart(diversityChart(all.map(({ updates }, i) => ({ updates, ...facts[i]! }))), smallChart),
    metricChart(lengthChart(all.map(({ updates }, i) => ({ updates, ...facts[i]! }))), smallChart),
    rewardHistogram(before, after, smallChart),
  ];
  const drawn = await Promise.all(charts.map(drawSvg));
  const pairs = completionPairs(before, after);
  const more =
    pairs.length > openPairs
      ? folded(
          `${pairs.length - openPairs} more prompts`,
          `<div class="inside">${pairs.slice(openPairs).join('')}</div>`,
        )
      : '';
  return [
    `<h2>Completions</h2><p class="note">${pairsNote(before, after)}</p>`,
    ...pairs.slice(0, openPairs),
    more,
    `<h2>What is written</h2>${cardGrid(drawn)}`,
    `<div class="below">${table}</div>`,
  ].join('\n');
}
