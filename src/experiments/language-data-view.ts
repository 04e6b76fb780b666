import type { LoadedLanguageConfig } from '../config/load.js';
import { showContext, showPrompt } from '../learners/language/show-layout.js';
import { checkDataset, datasetUse } from './dataset-checks.js';
import { readDataset, readPrompts } from './language-data.js';
import { openTokenizer } from './language-models.js';
import type { RunContext } from './run-lifecycle.js';

/** What `showLanguageData` needs. */
export interface LanguageDataViewOptions extends Pick<RunContext, 'notice' | 'say' | 'signal'> {
  /** Number of examples. */
  readonly count: number;
  /** Prints a line of an example. */
  readonly print: (line: string) => void;
}

/**
 * Prints the first prompts or contexts of a language job as its model gets them: one line for each prompt and each completion, with the
 * borders of tokens. The tokenizer is that of the model or of its server, which must be up. A data set is then checked as training does.
 * @throws PmpoError if a server cannot be reached, or the data are invalid, or the operator or the feedback cannot learn from them.
 */
export async function showLanguageData(
  loaded: LoadedLanguageConfig,
  { count, print, notice, say, signal }: LanguageDataViewOptions,
): Promise<void> {
  const { config } = loaded;
  const closing: (() => Promise<void>)[] = [];
  try {
    const onEnd = (close: () => Promise<void>) => void closing.push(close);
    const { tokenizer, contextLength } = await openTokenizer(config, { say, signal, onEnd });
    const printAll = (examples: readonly (readonly string[])[]) => {
      for (const [i, lines] of examples.entries()) [`Example ${i + 1}`, ...lines].forEach(print);
    };
    if (config.language.dataset === undefined) {
      const { training } = await readPrompts(config, tokenizer, contextLength, notice);
      printAll(training.slice(0, count).map((prompt) => showPrompt(tokenizer, prompt)));
      return;
    }
    const { contexts, evaluations } = await readDataset(loaded, tokenizer, contextLength, notice);
    printAll(contexts.slice(0, count).map((context) => showContext(tokenizer, context)));
    checkDataset(contexts, datasetUse(loaded, evaluations), notice);
  } finally {
    for (const close of closing.reverse()) await close();
  }
}
