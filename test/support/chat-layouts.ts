import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ChatMessage } from '../../src/core/chat.js';
import { PmpoError } from '../../src/core/errors.js';
import type { PreferenceContext } from '../../src/datasets/preferences.js';
import { HuggingFaceTokenizer } from '../../src/language/hugging-face-tokenizer.js';
import { layOutContext } from '../../src/learners/language/layout.js';

/** A row of test/references/chat_layouts_trl.py. */
export interface LayoutRow {
  readonly prompt: string | readonly ChatMessage[];
  readonly completion: string | readonly ChatMessage[];
  readonly tools?: readonly unknown[];
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>>;
}

/** [tokens of the prompt, tokens of both, hash of both, hash of the prompt by itself]; null if the template refuses the row. */
export type Expected = readonly [number, number, string, string] | null;

/** What test/references/chat_layouts_trl.py writes. */
export interface ChatLayouts {
  readonly rows: readonly LayoutRow[];
  readonly families: Readonly<
    Record<
      string,
      {
        readonly tokenizer: Record<string, unknown>;
        readonly config: Record<string, unknown>;
        readonly expected: readonly Expected[];
      }
    >
  >;
}

/** The tokenizer of a family, with the family's own chat template. */
export function familyTokenizer({ families }: ChatLayouts, name: string): HuggingFaceTokenizer {
  const { tokenizer, config } = families[name]!;
  const template = new URL(`../references/chat-templates/${name}.jinja`, import.meta.url);
  return new HuggingFaceTokenizer({
    where: name,
    tokenizer,
    config,
    chatTemplate: readFileSync(template, 'utf8'),
  });
}

/** The context that a row describes. */
export function contextOf({
  prompt,
  completion,
  tools,
  chat_template_kwargs: templateVariables,
}: LayoutRow): PreferenceContext {
  const last = typeof completion === 'string' ? completion : completion.at(-1)!.content;
  const turns = typeof completion === 'string' ? {} : { messages: completion };
  return {
    prompt: {
      ...(typeof prompt === 'string' ? { text: prompt } : { text: prompt.at(-1)!.content, messages: prompt }),
      ...(tools === undefined ? {} : { tools }),
      ...(templateVariables === undefined ? {} : { templateVariables }),
      row: {},
      where: 'the row',
    },
    completions: [{ text: last, ...turns, evaluation: 1 }],
  };
}

/**
 * The rows of a family that this program lays out in another way than TRL. TRL keeps completions or prompts without tokens, from which
 * nothing can be learned; here such a row is refused.
 */
export function differences(layouts: ChatLayouts, name: string): object[] {
  const tokenizer = familyTokenizer(layouts, name);
  return layouts.rows.flatMap((row, i) => {
    const own = laidOut(tokenizer, row);
    const trl = layouts.families[name]!.expected[i] ?? null;
    const expected = trl === null || trl[0] === 0 || trl[0] === trl[1] ? null : trl;
    return JSON.stringify(own) === JSON.stringify(expected) ? [] : [{ row, own, expected }];
  });
}

function digest(tokens: readonly number[]): string {
  return createHash('sha256').update(tokens.join(' ')).digest('hex').slice(0, 8);
}

/** How `layOutContext` lays out a row, in the form of `Expected`. */
function laidOut(tokenizer: HuggingFaceTokenizer, row: LayoutRow): Expected {
  try {
    const { prompt, completions, replaced } = layOutContext(tokenizer, contextOf(row), { chat: false });
    const whole = [...prompt, ...completions[0]!];
    return [prompt.length, whole.length, digest(whole), digest([...prompt, ...replaced])];
  } catch (error) {
    if (error instanceof PmpoError) return null;
    throw error;
  }
}
