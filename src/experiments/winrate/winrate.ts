import { createHash } from 'node:crypto';
import { PmpoError } from '../../core/errors.js';
import { foldIn, randomKey } from '../../core/random-keys.js';
import { conversationOf, type PromptRow, promptOf } from '../../datasets/prompts.js';
import { readRows } from '../../datasets/rows.js';
import type { SecuritySettings } from '../../grpc/security.js';
import type { SamplingSettings } from '../../language/language-model.js';
import type { PublicModules } from '../../system/user-module.js';
import { type Contestant, openContestant, type Written } from './contestants.js';
import { openJudge, type PairJudge, winnerOf } from './judges.js';
import { type Tally, tally } from './tally.js';
import { type Verdict, VerdictFile } from './verdicts.js';

export interface WinRateOptions extends SecuritySettings {
  readonly a: string;
  readonly b: string;
  /** A file of prompts, and the column that holds them. */
  readonly prompts: string;
  readonly field: string;
  readonly chat: boolean;
  readonly judge: string;
  readonly sampling: SamplingSettings;
  readonly seed: number;
  /** What a judge that is a module may import from this package. */
  readonly modules: PublicModules;
  /** The file that every verdict is kept in. */
  readonly output: string;
  readonly signal?: AbortSignal;
  /** Takes what a person should read and the comparison goes on after. */
  readonly notice?: (message: string) => void;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Questions to the judge that are under way at once; judges elsewhere have limits of their own. */
const atOnce = 16;

/** Both contestants, reached or read; closed again where the second cannot be had. */
async function openBoth(options: WinRateOptions): Promise<readonly [Contestant, Contestant]> {
  const { sampling, chat, tls, token } = options;
  const key = foldIn(randomKey(options.seed), 'winrate');
  const open = (word: string, where: string) =>
    openContestant(word, { sampling, chat, key, where, tls, token });
  const a = await open(options.a, 'A');
  try {
    return [a, await open(options.b, 'B')];
  } catch (error) {
    await a.close();
    throw error;
  }
}

async function judgeAll(
  judge: PairJudge,
  prompts: readonly PromptRow[],
  { a, b }: { readonly a: readonly Written[]; readonly b: readonly Written[] },
  file: VerdictFile,
  { signal, onProgress }: WinRateOptions,
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
  const work = async () => {
    for (const { conversation, row, question } of queue) {
      if (signal?.aborted)
        throw new PmpoError({ where: 'winrate', what: 'stopped; the same command goes on from here' });
      const isA = question.first === 'a';
      const [first, second] = isA ? [question.a, question.b] : [question.b, question.a];
      const [endA, endB] = question.finishReasons;
      const finishReasons = isA ? ([endA, endB] as const) : ([endB, endA] as const);
      let verdict = file.known(question);
      if (verdict === undefined) {
        const decision = await judge.decide(
          { prompt: question.prompt, conversation, row, first, second, finishReasons },
          signal,
        );
        verdict = { ...question, winner: winnerOf(decision, question.first), answer: decision.answer };
        file.add(verdict);
      }
      verdicts.push(verdict);
      onProgress?.(verdicts.length, questions.length);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return verdicts;
}

/**
 * Lets a judge compare completions of A and of B on the same prompts. A judge to whom the order could matter sees both orders.
 * Every verdict is kept in a file, from which a comparison that was stopped goes on.
 * @throws PmpoError from whoever completes or judges; what was judged before stays in the file.
 */
export async function measureWinRate(options: WinRateOptions): Promise<Tally> {
  const { a, b, judge: judgeFile, prompts: promptsFile, field, chat, sampling, seed, output } = options;
  const prompts = (await readRows(promptsFile)).map((row) => promptOf(row, field));
  const judge = await openJudge(judgeFile, options.notice ?? (() => {}), options.modules);
  const judgeHash = createHash('sha256').update(judge.identity).digest('hex').slice(0, 16);
  const subject = { a, b, judge: judgeFile, judgeHash, prompts: promptsFile, field, chat, sampling, seed };
  try {
    const [one, other] = await openBoth(options);
    try {
      const file = await VerdictFile.open(output, subject);
      try {
        const written = {
          a: await one.complete(prompts, options.signal),
          b: await other.complete(prompts, options.signal),
        };
        return tally(await judgeAll(judge, prompts, written, file, options));
      } finally {
        file.close();
      }
    } finally {
      await one.close();
      await other.close();
    }
  } finally {
    await judge.close();
  }
}
