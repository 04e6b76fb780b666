import { describe, expect, it } from 'vitest';
import { readFixture } from '../../test/references/read.js';
import type { ChatMessage } from '../core/chat.js';
import { WholeFloat } from '../core/whole-float.js';
import { type Chat, ChatTemplate } from './chat-template.js';

const fixture = readFixture<{
  readonly messages: readonly ChatMessage[];
  readonly tool: object;
  readonly templates: readonly string[];
  readonly withTools: readonly (string | null)[];
  readonly without: readonly (string | null)[];
}>('jinja_transformers');

/** The text of a template; null if it is refused. */
function printed(template: string, tools?: readonly unknown[]): string | null {
  try {
    const chat: Chat = { messages: fixture.messages, ending: 'whole', tools };
    return new ChatTemplate(template, { bos_token: '<s>' }).render(chat);
  } catch {
    return null;
  }
}

describe('a chat template', () => {
  it.each(fixture.templates.map((template, i) => [template, i] as const))(
    'prints %j as in transformers',
    (template, i) => {
      expect(printed(template)).toBe(fixture.without[i]);
      expect(printed(template, [fixture.tool])).toBe(fixture.withTools[i]);
    },
  );

  it('is refused with the reason that it gives', () => {
    const template = new ChatTemplate("{{ raise_exception('no system message') }}", {});
    expect(() => template.render({ messages: fixture.messages })).toThrow('no system message');
  });

  it.each([
    ['{{ messages[0].content }}{{ missing.x }}', "'x' is read of a value that is undefined"],
    ['{{ messages[5].role }}', "'role' is read of a value that is undefined"],
    ['{{ 12345678901234567890 | tojson }}', 'too large to be written as it was given'],
  ])('refuses %s in one clear line', (source, reason) => {
    expect(() => new ChatTemplate(source, {}).render({ messages: fixture.messages })).toThrow(reason);
  });

  it('refuses tools and tool calls with keys that JavaScript puts in another order', () => {
    const template = new ChatTemplate('{{ tools | tojson }}', {});
    const render = (tools: unknown, tool_calls?: unknown) =>
      template.render({
        messages: [{ role: 'user', content: 'Hi', tool_calls }],
        tools: [tools],
      });
    expect(() => render({ a: { b: 1, '10': 2 } })).toThrow("the tools have the key '10' beside others");
    expect(() => render({}, [{ arguments: { b: 1, '0': 2 } }])).toThrow("the tool calls have the key '0'");
    expect(render({ '10': { a: 1, '01': 2 } })).toBe('[{"10": {"a": 1, "01": 2}}]');
  });

  it('writes floats that are whole as Python does', () => {
    const tools = [{ least: new WholeFloat(1), most: new WholeFloat(1e16), steps: [1, new WholeFloat(2)] }];
    const printed = (source: string) => new ChatTemplate(source, {}).render({ messages: [], tools });
    expect(printed('{{ tools[0] | tojson }}')).toBe('{"least": 1.0, "most": 1e+16, "steps": [1, 2.0]}');
    expect(printed('{{ tools[0].steps }} {{ tools[0].least + 1 }}')).toBe('[1, 2.0] 2.0');
  });

  const chatML = new ChatTemplate(
    '{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}',
    {},
  );
  const user = { role: 'user', content: 'Hi' } as const;

  it('ends where the answer begins, or as the template ends its last message', () => {
    expect(chatML.render({ messages: [user] })).toBe('<user>Hi</><assistant>');
    expect(chatML.render({ messages: [user], ending: 'whole' })).toBe('<user>Hi</>');
  });

  it("goes on with the assistant's last message", () => {
    const begun = (content: string): Chat => ({ messages: [user, { role: 'assistant', content }] });
    expect(chatML.render(begun('Once '))).toBe('<user>Hi</><assistant>Once ');
    const trims = new ChatTemplate('{% for m in messages %}{{ m.content | trim }}</>{% endfor %}', {});
    expect(trims.render(begun('Once '))).toBe('Hi</>Once');
    const drops = new ChatTemplate('{{ messages[0].content }}', {});
    expect(() => drops.render(begun('Once'))).toThrow(/cannot be continued/);
  });

  it('refuses a loop that prints before it is broken, which its interpreter would forget', () => {
    const template = new ChatTemplate('{% for m in messages %}{{ m.role }}{% break %}{% endfor %}', {});
    expect(() => template.render({ messages: [user] })).toThrow(/prints before `break`/);
  });

  it('does not show a template the empty fields of a message', () => {
    const template = new ChatTemplate(
      '{{ messages[0].name is defined }}{{ messages[0].tool_calls is defined }}',
      {},
    );
    const tool_calls = [{ id: 'a' }];
    expect(template.render({ messages: [{ ...user, name: null, tool_calls }] })).toBe('FalseTrue');
  });

  it('knows the variables of a row', () => {
    const template = new ChatTemplate('{{ enable_thinking }}', {});
    expect(template.render({ messages: [user], variables: { enable_thinking: false } })).toBe('False');
  });
});
