import { PmpoError } from '../../core/errors.js';
import { conversationOf } from '../../datasets/prompts.js';
import type { SourceCompletion } from './completion-sources.js';
import { type PairJudge, winnerOf } from './judges.js';
import type { Verdict, VerdictFile } from './verdicts.js';

/** Maximum number of concurrent questions; a client may have a lower limit (`inFlight`). */
const concurrency = 16;

/** A prompt as a judge sees it. */
export type JudgedPrompt = Parameters<typeof conversationOf>[0] & {
  readonly text: string;
  readonly row: Readonly<Record<string, unknown>>;
};

/** How `judgePairs` works. */
export interface JudgePairsOptions {
  /** Verdicts from before, which are not asked for again, and where new ones are kept. */
  readonly known?: Pick<VerdictFile, 'known' | 'add'>;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
  /** Called with the rewards of a prompt's completions by a judge that is a reward. */
  readonly onRewards?: (index: number, rewards: readonly [a: number, b: number]) => void;
}

/**
 * Asks a judge about the completions of A and B for each prompt, in both orders if the order could influence it.
 * @param completions one of A and one of B for each prompt, in order.
 * @throws PmpoError if the judge fails or the signal stops it.
 */
export async function judgePairs(
  judge: PairJudge,
  prompts: readonly JudgedPrompt[],
  { a, b }: { readonly a: readonly SourceCompletion[]; readonly b: readonly SourceCompletion[] },
  { known, signal, onProgress, onRewards }: JudgePairsOptions,
): Promise<Verdict[]> {
  const orders = judge.bothOrders ? (['a', 'b'] as const) : (['a'] as const);
  const questions = prompts.flatMap((prompt, index) =>
    orders.map((first) => {
      const [one, other] = [a[index]!, b[index]!];
      const finishReasons = [one.finishReason, other.finishReason] as const;
      return {
        conversation: conversationOf(prompt),
        row: prompt.row,
        question: { index, first, prompt: prompt.text, a: one.text, b: other.text, finishReasons },
      };
    }),
  );
  const verdicts: Verdict[] = [];
  const queue = questions.values();
  const stopped = (cause?: unknown) =>
    new PmpoError({ where: 'winrate', what: 'stopped. The same command resumes from here', cause });
  const work = async () => {
    for (const { conversation, row, question } of queue) {
      if (signal?.aborted) throw stopped();
      const isA = question.first === 'a';
      const [first, second] = isA ? [question.a, question.b] : [question.b, question.a];
      const [endA, endB] = question.finishReasons;
      const finishReasons = isA ? ([endA, endB] as const) : ([endB, endA] as const);
      let verdict = known?.known(question);
      if (verdict === undefined) {
        const pair = { prompt: question.prompt, conversation, row, first, second, finishReasons };
        const decision = await judge.decide(pair, signal).catch((cause) => {
          throw signal?.aborted ? stopped(cause) : cause;
        });
        if (decision.rewards !== undefined) {
          const [one, other] = decision.rewards;
          onRewards?.(question.index, isA ? [one, other] : [other, one]);
        }
        verdict = { ...question, winner: winnerOf(decision, question.first), answer: decision.answer };
        known?.add(verdict);
      }
      verdicts.push(verdict);
      onProgress?.(verdicts.length, questions.length);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return verdicts;
}
