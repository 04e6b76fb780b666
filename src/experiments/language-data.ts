import type { LoadedLanguageConfig, ResolvedLanguageConfig } from '../config/load.js';
import { ConfigError, PmpoError } from '../core/errors.js';
import { nameList } from '../core/foreign-text.js';
import type { LeftOut } from '../datasets/left-out.js';
import {
  type PreferenceContext,
  type PreferenceData,
  readAsLine,
  readPreferences,
} from '../datasets/preferences.js';
import { type PromptRow, promptKey, promptOf, readablePrompts } from '../datasets/prompts.js';
import { readRows } from '../datasets/rows.js';
import type { Tokenizer } from '../language/tokenizer.js';
import type { EvaluatedContext, EvaluatedSample, Prompt } from '../learners/language/batch.js';
import { layOutContext, promptTokens, turnEnds } from '../learners/language/layout.js';

/** Reads the files of a language job and tokenizes them. Lengths are checked here, before anything is sampled. */

/** What is left out with a prompt: its row, or all its completions if it has several. */
interface Losses {
  readonly leftOut: LeftOut;
  /** 0: the row. */
  readonly completions?: number;
}

/** Rows of a language job that are left out while they are tokenized, and the longest prompt that fits. */
interface Fitting extends Losses {
  readonly longest: number;
  /** Into what a prompt must fit, for messages. */
  readonly room: string;
}

/** What `layOut` gives; undefined if the row is left out, because the chat template refuses it or nothing of it is left. */
function laidOut<T>(where: string, { leftOut, completions }: Losses, layOut: () => T): T | undefined {
  try {
    return layOut();
  } catch (error) {
    if (!(error instanceof PmpoError) || error instanceof ConfigError) throw error;
    const { what, remedy } = error.details;
    leftOut.add(where, what, { what, remedy }, completions);
    return undefined;
  }
}

/** A prompt with its tokens; undefined if its row is left out because it does not fit. */
function toPrompt(
  { where, ...prompt }: PromptRow,
  tokens: Int32Array,
  { longest, room, leftOut, completions }: Fitting,
): Prompt | undefined {
  if (tokens.length > longest) {
    const what = `the prompt has ${tokens.length} tokens, but only ${longest} fit ${room}`;
    const reason = `the prompt has more than the ${longest} tokens that fit ${room}`;
    leftOut.add(where, reason, { what, remedy: 'Remove the row, or shorten the prompt' }, completions);
    return undefined;
  }
  return { ...prompt, tokens };
}

/** The prompts of a language job. */
export interface Prompts {
  /** Prompts to learn from. */
  readonly training: readonly Prompt[];
  /** Prompts for evaluation only. */
  readonly heldOut: readonly Prompt[];
}

/** Shows a message that does not end the run. */
type Notice = (message: string) => void;

async function readPromptFile(
  { language }: ResolvedLanguageConfig,
  file: string,
  tokenizer: Tokenizer,
  contextLength: number,
  notice: Notice,
): Promise<readonly Prompt[]> {
  const { field, chat } = language.prompts!;
  const { maxTokens } = language.sampling;
  const rows = await readRows(file);
  const { prompts, leftOut, unread } = readablePrompts(rows, field, { chat });
  const room = `into a context of ${contextLength} with a completion of ${maxTokens}`;
  const fitting = { longest: contextLength - maxTokens, room, leftOut };
  const found = prompts.flatMap((row): Prompt[] => {
    const layout = laidOut(row.where, fitting, () => ({
      tokens: promptTokens(tokenizer, row, chat),
      stopTokens: turnEnds(tokenizer, row, chat),
    }));
    const prompt = layout && toPrompt(row, layout.tokens, fitting);
    return prompt === undefined ? [] : [{ ...prompt, stopTokens: layout!.stopTokens }];
  });
  if (found.length === 0) throw leftOut.error();
  const { summary } = leftOut;
  if (summary !== undefined) notice(`${file}: of ${rows.length} rows, ${summary}`);
  if (unread.length > 0)
    notice(
      `${file}: columns that are no part of the prompts, though a reward may read them: ${nameList(unread)}`,
    );
  return found;
}

/**
 * Reads the prompts of a configuration, split into those to learn from and those held out. A prompt among the last rows, which are held out,
 * is not learned from, even if it occurs in other rows as well.
 * @throws PmpoError if no row has a prompt that fits, with the first row's place; ConfigError if the prompts to learn from do not fill
 *   a batch.
 */
export async function readPrompts(
  config: ResolvedLanguageConfig,
  tokenizer: Tokenizer,
  contextLength: number,
  notice: Notice,
): Promise<Prompts> {
  const { file, heldOut } = config.language.prompts!;
  const { batchSize } = config.learner;
  const prompts = await readPromptFile(config, file, tokenizer, contextLength, notice);
  if (typeof heldOut === 'number' && heldOut >= prompts.length) {
    throw new ConfigError({
      where: 'language.prompts.heldOut',
      what: `holding out ${heldOut} of the ${prompts.length} prompts in ${file} leaves none to learn from`,
      remedy: 'Lower it',
    });
  }
  const held =
    typeof heldOut === 'number'
      ? prompts.slice(-heldOut)
      : await readPromptFile(config, heldOut, tokenizer, contextLength, notice);
  const keys = new Set(held.map(promptKey));
  const others = typeof heldOut === 'number' ? prompts.slice(0, -heldOut) : prompts;
  const training = others.filter((prompt) => !keys.has(promptKey(prompt)));
  const shared = others.length - training.length;
  if (training.length < batchSize) {
    const also = shared > 0 ? ` (${shared} more rows have prompts that are held out)` : '';
    throw new ConfigError({
      where: 'learner.batchSize',
      what: `${batchSize} exceeds the ${training.length} prompts to learn from${also}, so a batch would repeat prompts`,
      remedy:
        training.length === 0 ? 'Add prompts' : `Lower it to ${training.length} or less, or add prompts`,
    });
  }
  if (shared > 0) notice(`${file}: ${shared} rows have prompts that are held out, and are not learned from`);
  return { training, heldOut: held };
}

/** A data set whose prompts and completions have their tokens. */
export interface Dataset {
  readonly contexts: readonly EvaluatedContext[];
  /** Whether the evaluations are labels or scores. */
  readonly evaluations: PreferenceData['evaluations'];
}

/**
 * Reads and tokenizes the data set of a configuration, and says in one line what it was read as.
 * @throws PmpoError if its shape is unknown, or no row can be used, with the first row's place.
 */
export async function readDataset(
  { config, operator, catalogue }: LoadedLanguageConfig,
  tokenizer: Tokenizer,
  contextLength: number,
  notice: Notice,
): Promise<Dataset> {
  const { file, chat, columns, labels, endToken } = config.language.dataset!;
  const { needs } = operator;
  // An operator that needs pairs gets each pair as a context; other operators get all completions of a prompt together.
  const merge = needs.feedback !== 'pairs';
  const { readsLabels } = catalogue.feedback.get(config.feedback.name);
  const prefer = readsLabels === true && needs.feedback !== 'none' ? 'labels' : 'scores';
  const rows = await readRows(file, columns?.tools === undefined ? [] : [columns.tools]);
  const data = readPreferences(rows, file, { columns, labels, chat, merge, prefer });
  const { leftOut } = data;
  const fitting = { longest: contextLength - 1, room: `into a context of ${contextLength}`, leftOut };
  const kept: PreferenceContext[] = [];
  const replaced: Int32Array[] = [];
  const spelled: string[] = [];
  const contexts = data.contexts.flatMap((context): EvaluatedContext[] => {
    const { where } = context.prompt;
    const several = context.completions.length > 1;
    const losses = { ...fitting, completions: several ? context.completions.length : 0 };
    const layout = laidOut(where, losses, () => layOutContext(tokenizer, context, { chat, endToken }));
    const prompt = layout && toPrompt(context.prompt, layout.prompt, losses);
    if (layout === undefined || prompt === undefined) return [];
    if (layout.replaced.length > 0) replaced.push(layout.replaced);
    if (layout.spelled !== undefined) spelled.push(layout.spelled);
    const fits = layout.completions.map((tokens) => {
      const total = layout.prompt.length + tokens.length;
      if (total <= contextLength) return true;
      const what = `prompt and completion have ${total} tokens, but the context only ${contextLength}`;
      const reason = `prompt and completion have more than the ${contextLength} tokens of the context`;
      leftOut.add(where, reason, { what, remedy: 'Remove the row, or shorten it' }, several ? 1 : 0);
      return false;
    });
    const completions = context.completions.flatMap(({ text, evaluation }, i): EvaluatedSample[] =>
      fits[i] ? [{ text, tokens: layout.completions[i]!, finishReason: 'stop', evaluation }] : [],
    );
    if (completions.length === 0) return [];
    kept.push({ prompt: context.prompt, completions: context.completions.filter((_, i) => fits[i]) });
    return [{ prompt, completions }];
  });
  if (contexts.length === 0) throw leftOut.error();
  notice(readAsLine(file, { ...data, contexts: kept }));
  if (tokenizer.hasChatTemplate && !chat && kept.every(({ prompt }) => prompt.messages === undefined)) {
    notice(
      `${file}: its prompts are texts and go to the model as they are. language.dataset.chat: true makes each a user's message in the model's chat template`,
    );
  }
  if (replaced.length > 0) {
    const example = JSON.stringify(tokenizer.decode(replaced[0]!, { special: true }));
    notice(
      `Warning: in ${replaced.length} of ${contexts.length} contexts the last tokens of the prompt, such as ${example}, are others when a completion follows. The completions begin where the tokens part, as in TRL (\`npx pmpo data\` shows it)`,
    );
  }
  if (spelled.length > 0) {
    notice(
      `Warning: in ${spelled.length} of ${contexts.length} contexts a message spells a special token, such as ${spelled[0]}. It is plain text there; in transformers it would be the token`,
    );
  }
  return { contexts, evaluations: data.evaluations };
}

/** Reads the texts whose perplexity is recorded, truncated to the context length. @throws PmpoError for a row without text. */
export async function readTexts(
  file: string,
  tokenizer: Tokenizer,
  contextLength: number,
): Promise<readonly Int32Array[]> {
  return (await readRows(file)).map((placed) => {
    const begin = tokenizer.beginToken !== undefined;
    const tokens = tokenizer.encode(promptOf(placed, 'text').text, { special: true, begin });
    if (tokens.length < 2)
      throw new PmpoError({ where: placed.where, what: 'the text is too short to score' });
    return tokens.slice(0, contextLength);
  });
}
