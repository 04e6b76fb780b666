import { PmpoError, type ProblemDetails } from '../../core/errors.js';
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

/** How questions are asked. */
export interface AskOptions {
  /** What the error says if the signal stops it. */
  readonly stopped: ProblemDetails;
  readonly signal?: AbortSignal;
}

/** How `judgePairs` works. */
export interface JudgePairsOptions extends AskOptions {
  /** Verdicts from before, which are not asked for again, and where new ones are kept. */
  readonly known?: Pick<VerdictFile, 'known' | 'add'>;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Asks every question, several at a time. After a failure no other question is begun, and those under way are waited for, so that nothing
 * is asked any more when this has ended.
 * @throws the first error of `ask`; PmpoError with `stopped` if the signal is aborted.
 */
export async function askAll<T>(
  questions: readonly T[],
  ask: (question: T) => Promise<void>,
  { stopped, signal }: AskOptions,
): Promise<void> {
  const queue = questions.values();
  let failure: { readonly error: unknown } | undefined;
  const work = async () => {
    for (const question of queue) {
      try {
        if (signal?.aborted) throw signal.reason;
        await ask(question);
      } catch (cause) {
        failure ??= { error: signal?.aborted ? new PmpoError({ ...stopped, cause }) : cause };
      }
      if (failure !== undefined) return;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  if (failure !== undefined) throw failure.error;
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
  { known, onProgress, ...options }: JudgePairsOptions,
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
  const ask = async ({ conversation, row, question }: (typeof questions)[number]) => {
    const isA = question.first === 'a';
    const [first, second] = isA ? [question.a, question.b] : [question.b, question.a];
    const [endA, endB] = question.finishReasons;
    const finishReasons = isA ? ([endA, endB] as const) : ([endB, endA] as const);
    let verdict = known?.known(question);
    if (verdict === undefined) {
      const pair = { prompt: question.prompt, conversation, row, first, second, finishReasons };
      const decision = await judge.decide(pair, options.signal);
      verdict = { ...question, winner: winnerOf(decision, question.first), answer: decision.answer };
      known?.add(verdict);
    }
    verdicts.push(verdict);
    onProgress?.(verdicts.length, questions.length);
  };
  await askAll(questions, ask, options);
  return verdicts;
}
