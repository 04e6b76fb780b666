import { wilsonInterval } from '../../core/statistics.js';
import type { Verdict } from './verdicts.js';

/** What all verdicts come to. */
export interface Tally {
  readonly prompts: number;
  /** Prompts on which A is better by all that was said, B is, or neither. */
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  /** Prompts of which the judge said nothing of use; they do not count. */
  readonly unanswered: number;
  /** (wins + ties / 2) / (wins + losses + ties); NaN of nothing. */
  readonly winRate: number;
  /** Wilson's 95 % interval of it. */
  readonly interval: readonly [low: number, high: number];
}

/**
 * One outcome for each prompt: a judge who prefers what stands first, whichever it is, says that it cannot tell them apart.
 */
export function tally(verdicts: readonly Verdict[]): Tally {
  const byPrompt = new Map<number, Verdict[]>();
  for (const verdict of verdicts) {
    byPrompt.set(verdict.index, [...(byPrompt.get(verdict.index) ?? []), verdict]);
  }
  const counts = { wins: 0, losses: 0, ties: 0, unanswered: 0 };
  for (const own of byPrompt.values()) {
    // One order alone says too little of a judge to whom the order matters.
    const isAnswered = own.every(({ winner }) => winner !== 'unanswered');
    const votes = own.reduce((sum, { winner }) => sum + (winner === 'a' ? 1 : winner === 'b' ? -1 : 0), 0);
    if (!isAnswered) counts.unanswered += 1;
    else if (votes > 0) counts.wins += 1;
    else if (votes < 0) counts.losses += 1;
    else counts.ties += 1;
  }
  const { wins, losses, ties } = counts;
  const total = wins + losses + ties;
  const won = wins + ties / 2;
  return {
    prompts: byPrompt.size,
    ...counts,
    winRate: total === 0 ? Number.NaN : won / total,
    interval: wilsonInterval(won, total),
  };
}
