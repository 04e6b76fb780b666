import { createHash } from 'node:crypto';
import { foldIn, randomKey } from '../../core/random-keys.js';
import { promptOf } from '../../datasets/prompts.js';
import { readRows } from '../../datasets/rows.js';
import type { SecuritySettings } from '../../grpc/security.js';
import type { SamplingSettings } from '../../language/language-model.js';
import type { PublicModules } from '../../system/user-module.js';
import { type CompletionSource, openCompletionSource } from './completion-sources.js';
import { judgePairs } from './judge-pairs.js';
import { openJudge } from './judges.js';
import { type Tally, tally } from './tally.js';
import { VerdictFile } from './verdicts.js';

const stopped = { where: 'winrate', what: 'stopped. The same command resumes from here' };

/** What `measureWinRate` needs. */
export interface WinRateOptions extends SecuritySettings {
  /** The two sources of completions; see `openCompletionSource`. */
  readonly a: string;
  readonly b: string;
  /** The prompt file, and its column with the prompt. */
  readonly prompts: string;
  readonly field: string;
  /** Whether a text is sent as a user message, formatted with the model's chat template. */
  readonly chat: boolean;
  /** A module or a file of settings; see `openJudge`. */
  readonly judge: string;
  readonly sampling: SamplingSettings;
  readonly seed: number;
  /** What a judge that is a module may import from this package. */
  readonly modules: PublicModules;
  /** The file for the verdicts. */
  readonly output: string;
  readonly signal?: AbortSignal;
  /** Shows the user a message that does not end the comparison. */
  readonly notice?: (message: string) => void;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Opens both sources. If the second fails, the first is closed. */
async function openBoth(options: WinRateOptions): Promise<readonly [CompletionSource, CompletionSource]> {
  const { sampling, chat, tls, token } = options;
  const key = foldIn(randomKey(options.seed), 'winrate');
  const open = (source: string, where: string) =>
    openCompletionSource(source, { sampling, chat, key, where, tls, token });
  const a = await open(options.a, 'A');
  try {
    return [a, await open(options.b, 'B')];
  } catch (error) {
    await a.close();
    throw error;
  }
}

/**
 * Lets a judge compare the completions of A and B on the same prompts, in both orders if the order could influence it. Every verdict
 * is written to a file, from which a comparison that was stopped resumes.
 * @throws PmpoError if a completion cannot be sampled or read, or the judge cannot be reached; earlier verdicts stay in the file.
 */
export async function measureWinRate(options: WinRateOptions): Promise<Tally> {
  const { a, b, judge: judgeFile, prompts: promptsFile, field, chat, sampling, seed, output } = options;
  const prompts = (await readRows(promptsFile)).map((row) => promptOf(row, field));
  const judge = await openJudge(judgeFile, {
    context: { notice: options.notice ?? (() => {}), signal: options.signal },
    modules: options.modules,
    key: '--judge',
  });
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
        const { signal, onProgress } = options;
        return tally(await judgePairs(judge, prompts, written, { known: file, stopped, signal, onProgress }));
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
