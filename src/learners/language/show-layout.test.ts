import { describe, expect, it } from 'vitest';
import { readFixture } from '../../../test/references/read.js';
import { type ChatLayouts, familyTokenizer } from '../../../test/support/chat-layouts.js';
import { layOutContext } from './layout.js';
import { showContext, showPrompt } from './show-layout.js';

const layouts = readFixture<ChatLayouts>('chat_layouts_trl');

function contextOf(name: string, prompt: string, completion: string, evaluation: number) {
  const tokenizer = familyTokenizer(layouts, name);
  const row = { text: prompt, row: {}, where: 'rows.jsonl:1' };
  const completions = [{ text: completion, evaluation }];
  const laidOut = layOutContext(tokenizer, { prompt: row, completions }, { chat: true });
  const samples = laidOut.completions.map((tokens) => {
    return { text: completion, tokens, finishReason: 'stop' as const, evaluation };
  });
  return { tokenizer, context: { prompt: { ...row, tokens: laidOut.prompt }, completions: samples } };
}

/** The text of a line between its first and last border, without the borders. */
const textOf = (line: string | undefined) => line!.slice(line!.indexOf('│')).replaceAll('│', '');

describe('showContext', () => {
  it.each(['llama-2', 'qwen-2.5', 'gemma-2'])('shows tokens of %s that join to the rendered chat', (name) => {
    const { tokenizer, context } = contextOf(name, 'Is naïve 日本語 two\nwords?', ' the sum 🙂', -1);
    const [prompt, completion] = showContext(tokenizer, context);
    const { tokens } = context.prompt;
    const whole = [...tokens, ...context.completions[0]!.tokens];
    const decoded = tokenizer.decode(whole, { special: true }).replaceAll('\n', '\\n');
    const shown = (textOf(prompt) + textOf(completion)).replace(/\ufffd+/g, '');
    expect(shown.replaceAll(' ', '')).toBe(decoded.replaceAll(' ', ''));
    expect(prompt).toContain(`prompt, ${tokens.length} tokens: │`);
    expect(prompt!.split('│')).toHaveLength(tokens.length + 2);
    expect(completion).toContain(`learned with -1, ${whole.length - tokens.length} tokens: │`);
    expect(completion!.split('│')).toHaveLength(whole.length - tokens.length + 2);
  });

  it('shows what would move the cursor or reverse the text as escapes', () => {
    const { tokenizer, context } = contextOf('qwen-2.5', 'a\x1b[2Jb', 'c\u202ed\u2028e', 1);
    const lines = showContext(tokenizer, context);
    expect(lines.join('')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(textOf(lines[0])).toContain('\\x1b[2J');
  });

  it('shows where an answer ends, and what its evaluation is', () => {
    const { tokenizer, context } = contextOf('qwen-2.5', 'Hi', 'four', 0.5);
    expect(showContext(tokenizer, context)[1]).toMatch(
      /learned with 0\.5, \d+ tokens: │.*<\|im_end\|>│\\n│$/,
    );
  });

  it('shortens long texts, and keeps the end of the prompt and of the completion', () => {
    const { tokenizer, context } = contextOf('qwen-2.5', 'Hi '.repeat(200), 'four '.repeat(200), 1);
    const lines = showContext(tokenizer, context, { width: 100 });
    for (const line of lines) {
      expect(line.length).toBeLessThan(140);
      expect(line).toContain('│…│');
    }
    expect(lines[0]).toMatch(/assistant│\\n│$|ant│\\n│$/);
    expect(lines[1]).toMatch(/<\|im_end\|>│\\n│$/);
  });
});

describe('showPrompt', () => {
  it('shows the tokens that end a sampled answer', () => {
    const tokenizer = familyTokenizer(layouts, 'qwen-2.5');
    const [end] = tokenizer.encode('<|im_end|>', { special: true, begin: false });
    const prompt = { text: 'Hi', tokens: tokenizer.encode('Hi'), row: {}, stopTokens: [end!] };
    expect(showPrompt(tokenizer, prompt)[1]).toBe('  an answer ends with: <|im_end|>');
    expect(showPrompt(tokenizer, { ...prompt, stopTokens: [] })).toHaveLength(1);
  });
});
