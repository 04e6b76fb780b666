import { describe, expect, it } from 'vitest';
import { readFixture } from '../../../test/references/read.js';
import { type ChatLayouts, differences, familyTokenizer } from '../../../test/support/chat-layouts.js';
import type { ChatMessage } from '../../core/chat.js';
import type { LabeledCompletion } from '../../datasets/preferences.js';
import type { PromptRow } from '../../datasets/prompts.js';
import { HuggingFaceTokenizer } from '../../language/hugging-face-tokenizer.js';
import type { Tokenizer } from '../../language/tokenizer.js';
import { layOutContext, promptTokens, turnEnds } from './layout.js';

const layouts = readFixture<ChatLayouts>('chat_layouts_trl');

describe('layOutContext', () => {
  it.each(Object.keys(layouts.families))('lays out conversations and texts of %s as TRL does', (name) => {
    const found = differences(layouts, name);
    expect(found.slice(0, 3), `${found.length} rows differ`).toEqual([]);
  });
});

const qwen = familyTokenizer(layouts, 'qwen-2.5');
const llama2 = familyTokenizer(layouts, 'llama-2');
const question: ChatMessage = { role: 'user', content: 'What is 2 + 2?' };
const answer: ChatMessage = { role: 'assistant', content: 'four' };
const textPrompt = (text: string): PromptRow => ({ text, row: {}, where: 'rows.jsonl:3' });
const chatPrompt = (...messages: ChatMessage[]): PromptRow => ({ ...textPrompt('…'), messages });
const completionOf = (text: string, ...messages: ChatMessage[]): LabeledCompletion => ({
  text,
  evaluation: 1,
  ...(messages.length === 0 ? {} : { messages }),
});

/** Prompt and completions as texts, special tokens included. */
function texts(
  tokenizer: Tokenizer,
  prompt: PromptRow,
  completions: readonly LabeledCompletion[],
  settings: { readonly chat?: boolean; readonly endToken?: string } = {},
) {
  const laidOut = layOutContext(tokenizer, { prompt, completions }, { chat: false, ...settings });
  const decode = (tokens: Int32Array) => tokenizer.decode(tokens, { special: true });
  return {
    prompt: decode(laidOut.prompt),
    completions: laidOut.completions.map(decode),
    replaced: decode(laidOut.replaced),
  };
}

describe('the layout of a chat', () => {
  it('ends an answer as the template ends a turn', () => {
    const { prompt, completions } = texts(qwen, chatPrompt(question), [completionOf('four')]);
    expect(prompt).toMatch(/2 \+ 2\?<\|im_end\|>\n<\|im_start\|>assistant\n$/);
    expect(completions).toEqual(['four<|im_end|>\n']);
  });

  it('is the same for a text and a chat, on either side', () => {
    const expected = texts(qwen, chatPrompt(question), [completionOf('four')]);
    const text = textPrompt(question.content);
    expect(texts(qwen, text, [completionOf('four', answer)])).toEqual(expected);
    expect(texts(qwen, text, [completionOf('four')], { chat: true })).toEqual(expected);
    expect(texts(qwen, chatPrompt(question), [completionOf('four', answer)])).toEqual(expected);
  });

  it('keeps the turns between the prompt and the last answer', () => {
    const turns = [answer, { ...question, content: 'Sure?' }, { ...answer, content: 'Yes' }];
    const { completions } = texts(qwen, chatPrompt(question), [completionOf('Yes', ...turns)]);
    expect(completions[0]).toBe(
      'four<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n',
    );
  });

  it("goes on with the assistant's last message without a second header", () => {
    const begun = chatPrompt(question, { ...answer, content: 'It is' });
    const { prompt, completions } = texts(qwen, begun, [completionOf(' four')]);
    expect(prompt).toMatch(/<\|im_start\|>assistant\nIt is$/);
    expect(completions).toEqual([' four<|im_end|>\n']);
  });

  it('has plain text where a message spells a special token', () => {
    const layOut = (text: string) =>
      layOutContext(
        qwen,
        { prompt: chatPrompt(question), completions: [completionOf(text)] },
        { chat: false },
      );
    const { completions, spelled } = layOut('<|im_end|>');
    expect(completions[0]!.length).toBeGreaterThan(5);
    expect(spelled).toBe('<|im_end|>');
    expect(layOut('four').spelled).toBeUndefined();
  });

  it('names the row whose chat the template refuses', () => {
    const twice = chatPrompt(question, question);
    expect(() => texts(llama2, twice, [completionOf('four')])).toThrow(
      /^rows\.jsonl:3: the chat template does not accept these messages \(user, user\): Conversation roles/,
    );
  });

  it('is refused with an end token that the template does not write', () => {
    const layOut = (endToken: string) =>
      texts(qwen, chatPrompt(question), [completionOf('four')], { endToken });
    expect(layOut('<|im_end|>').completions).toEqual(['four<|im_end|>\n']);
    expect(() => layOut('<|endoftext|>')).toThrow(
      /language\.dataset\.endToken: the chat template does not end an answer with <\|endoftext\|>/,
    );
    expect(() => layOut('<end>')).toThrow(/the tokenizer has no special token '<end>'/);
  });
});

describe('the layout of texts', () => {
  it('has the tokens of the whole text, cut where the completion begins', () => {
    const { prompt, completions } = layOutContext(
      llama2,
      { prompt: textPrompt('What is'), completions: [completionOf(' four')] },
      { chat: false },
    );
    expect([...prompt, ...completions[0]!]).toEqual([...llama2.encode('What is four'), llama2.endToken]);
  });

  it('begins all completions where the tokens of prompt and completion part for any of them', () => {
    const pair = [completionOf('ur'), completionOf(' x')];
    const alone = texts(llama2, textPrompt('the fo'), [pair[1]!]);
    expect(alone).toEqual({ prompt: '<s> the fo', completions: ['x</s>'], replaced: '' });
    const { prompt, completions, replaced } = texts(llama2, textPrompt('the fo'), pair);
    expect(prompt).toBe('<s> the');
    expect(completions).toEqual(['four</s>', 'fo x</s>']);
    expect(replaced).toBe('fo');
  });

  it('has special tokens that the text spells, and one end token', () => {
    const rendered = textPrompt('<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n');
    const expected = { prompt: rendered.text, completions: ['four<|im_end|>'], replaced: '' };
    expect(texts(qwen, rendered, [completionOf('four<|im_end|>')])).toEqual(expected);
    expect(texts(qwen, rendered, [completionOf('four')])).toEqual(expected);
    expect(promptTokens(qwen, rendered, false)).toHaveLength(
      qwen.encode(rendered.text, { special: true }).length,
    );
  });

  it('has no tokens that end a text between prompt and completion', () => {
    const { kinds } = readFixture<{
      readonly kinds: Readonly<Record<string, { readonly tokenizer: string; readonly config: string }>>;
    }>('tokenizers_transformers');
    const { tokenizer, config } = kinds.unigram!;
    const framed = new HuggingFaceTokenizer({
      where: 'the fixture',
      tokenizer: JSON.parse(tokenizer) as Record<string, unknown>,
      config: JSON.parse(config) as Record<string, unknown>,
    });
    const whole = [...framed.encode('the quick fox')];
    expect(whole.at(-1)).toBe(framed.endToken);
    const { prompt, completions } = layOutContext(
      framed,
      { prompt: textPrompt('the quick'), completions: [completionOf(' fox')] },
      { chat: false },
    );
    expect([...prompt, ...completions[0]!]).toEqual(whole);
    expect([...prompt]).toEqual([...promptTokens(framed, textPrompt('the quick'), false)]);
    expect([...prompt]).not.toContain(framed.endToken);
  });

  it('refuses a prompt or a completion without tokens', () => {
    expect(() => promptTokens(qwen, textPrompt(''), false)).toThrow(
      /rows\.jsonl:3: the prompt has no tokens/,
    );
    expect(() => texts(qwen, textPrompt('fo'), [completionOf('ur')])).toThrow(
      /no token of the prompt is left/,
    );
    const glm = familyTokenizer(layouts, 'glm-4');
    const empty = completionOf('', { ...answer, content: '' });
    const thinks = { ...chatPrompt(question), templateVariables: { enable_thinking: false } };
    expect(() => texts(glm, thinks, [empty])).toThrow(/a completion has no tokens/);
  });
});

describe('turnEnds', () => {
  it.each([
    ['qwen-2.5', ['<|im_end|>']],
    ['llama-3', ['<|eot_id|>']],
    ['gemma-2', ['<end_of_turn>']],
    ['phi-3', ['<|end|>']],
    ['llama-2', ['</s>']],
    ['command-r', ['<|END_OF_TURN_TOKEN|>']],
    ['glm-4', []],
  ])('of %s are %j', (name, expected) => {
    const tokenizer = familyTokenizer(layouts, name);
    const ends = turnEnds(tokenizer, chatPrompt(question), false);
    expect(ends.map((token) => tokenizer.decode([token], { special: true }))).toEqual(expected);
    expect(turnEnds(tokenizer, textPrompt('Hi'), false)).toEqual([]);
    expect(turnEnds(tokenizer, textPrompt('Hi'), true)).toEqual(ends);
  });
});
