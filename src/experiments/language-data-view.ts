import type { LoadedLanguageConfig } from '../config/load.js';
import { showContext, showPrompt } from '../learners/language/show-layout.js';
import { readDataset, readPrompts } from './language-data.js';
import { openTokenizer } from './language-models.js';
import type { RunContext } from './run-lifecycle.js';

/** What `showLanguageData` needs. */
export interface LanguageDataViewOptions extends Pick<RunContext, 'notice' | 'say' | 'signal'> {
  /** Number of examples. */
  readonly count: number;
}

/**
 * The first prompts or contexts of a language job as its model gets them: one line for each prompt and each completion, with the
 * borders of tokens. The tokenizer is that of the model or of its server, which must be up.
 * @throws PmpoError if a server cannot be reached, or the data are invalid.
 */
export async function showLanguageData(
  loaded: LoadedLanguageConfig,
  { count, notice, say, signal }: LanguageDataViewOptions,
): Promise<string[]> {
  const { config } = loaded;
  const closing: (() => Promise<void>)[] = [];
  try {
    const onEnd = (close: () => Promise<void>) => void closing.push(close);
    const { tokenizer, contextLength } = await openTokenizer(config, { say, signal, onEnd });
    const numbered = (lines: readonly string[], i: number) => [`Example ${i + 1}`, ...lines];
    if (config.language.dataset !== undefined) {
      const { contexts } = await readDataset(loaded, tokenizer, contextLength, notice);
      return contexts.slice(0, count).flatMap((context, i) => numbered(showContext(tokenizer, context), i));
    }
    const { training } = await readPrompts(config, tokenizer, contextLength, notice);
    return training.slice(0, count).flatMap((prompt, i) => numbered(showPrompt(tokenizer, prompt), i));
  } finally {
    for (const close of closing.reverse()) await close();
  }
}
