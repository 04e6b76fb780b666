import { wilsonInterval } from '../../core/statistics.js';
import type { Verdict } from './verdicts.js';

/** The outcome of all verdicts. */
export interface Tally {
  /** Number of prompts. */
  readonly prompts: number;
  /** Prompts on which A is better, B is better, or neither. */
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  /** Prompts without a usable answer of the judge; they do not count. */
  readonly unanswered: number;
  /** (wins + ties / 2) / (wins + losses + ties); NaN if that is 0 / 0. */
  readonly winRate: number;
  /** Wilson's 95 % interval of the win rate. */
  readonly interval: readonly [low: number, high: number];
}

/** Counts one outcome for each prompt. A judge that prefers A in one order and B in the other has tied them. */
export function tally(verdicts: readonly Verdict[]): Tally {
  const byPrompt = new Map<number, Verdict[]>();
  for (const verdict of verdicts) {
    byPrompt.set(verdict.index, [...(byPrompt.get(verdict.index) ?? []), verdict]);
  }
  const counts = { wins: 0, losses: 0, ties: 0, unanswered: 0 };
  for (const own of byPrompt.values()) {
    // A judge that sees both orders must answer both: one order alone may only show its preference for a position.
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
