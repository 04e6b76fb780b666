import { describe, expect, it } from 'vitest';
import { type PreferenceOptions, readAsLine, readPreferences } from './preferences.js';
import type { Row } from './rows.js';
import type { Columns } from './shape-cells.js';
import { shapeOf } from './shapes.js';

// One row for each shape of data sets that people have: the columns are those of the real data sets, the rows were written for this test.

const read = (rows: readonly object[], options?: PreferenceOptions) =>
  readPreferences(
    rows.map((row, i) => ({ row: row as Record<string, unknown>, where: `f.jsonl:${i + 1}` })),
    'f.jsonl',
    options,
  );

/** The roles of the columns by which rows are recognised. */
const columnsRead = (rows: readonly object[]): Columns =>
  shapeOf(
    rows.map((row) => ({ row: row as Row, where: 'f.jsonl' })),
    'f.jsonl',
  ).columns;

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const system = (content: string) => ({ role: 'system', content });
const human = (value: string) => ({ from: 'human', value });
const gpt = (value: string) => ({ from: 'gpt', value });

/** A prompt as it was read: its text, or its messages. */
type ExpectedPrompt = string | readonly object[];
/** A completion as it was read: its text or messages, and its evaluation. */
type ExpectedCompletion = readonly [string | readonly object[], number];

const shapes: readonly (readonly [
  name: string,
  row: object,
  options: PreferenceOptions,
  prompt: ExpectedPrompt,
  completions: readonly ExpectedCompletion[],
  description: RegExp,
])[] = [
  [
    'KTO: prompt, completion, label',
    { prompt: 'Hi', completion: 'Hello', label: true },
    {},
    'Hi',
    [['Hello', 1]],
    /judged completions \(prompt, completion, label\)/,
  ],
  [
    'KTO-mix: the same as chats',
    { prompt: [user('Hi')], completion: [assistant('No.')], label: false },
    {},
    [user('Hi')],
    [[[assistant('No.')], -1]],
    /\(prompt, completion, label\)/,
  ],
  [
    "TRL's explicit pairs",
    { prompt: 'The sky is', chosen: ' blue.', rejected: ' green.' },
    {},
    'The sky is',
    [
      [' blue.', 1],
      [' green.', -1],
    ],
    /\(prompt, chosen, rejected\)/,
  ],
  [
    'an explicit pair with one side null',
    { prompt: 'The sky is', chosen: null, rejected: ' green.' },
    {},
    'The sky is',
    [[' green.', -1]],
    /\(prompt, rejected\)/,
  ],
  [
    'UltraFeedback-binarized: a text prompt and whole conversations',
    {
      prompt: 'Why?',
      prompt_id: 'x',
      chosen: [user('Why?'), assistant('So.')],
      rejected: [user('Why?'), assistant('No.')],
      messages: [user('Why?'), assistant('So.')],
      score_chosen: 8,
      score_rejected: 3,
    },
    {},
    [user('Why?')],
    [
      [[assistant('So.')], 1],
      [[assistant('No.')], -1],
    ],
    /\(prompt, chosen, rejected\)/,
  ],
  [
    'Capybara: multi-turn conversations',
    {
      chosen: [user('A?'), assistant('A.'), user('B?'), assistant('Good')],
      rejected: [user('A?'), assistant('A.'), user('B?'), assistant('Bad')],
    },
    {},
    [user('A?'), assistant('A.'), user('B?')],
    [
      [[assistant('Good')], 1],
      [[assistant('Bad')], -1],
    ],
    /common beginning \(chosen, rejected\)/,
  ],
  [
    'HH-RLHF: texts with turns',
    {
      chosen: '\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: I think so.',
      rejected: '\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: I do not.',
    },
    {},
    '\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant:',
    [
      [' I think so.', 1],
      [' I do not.', -1],
    ],
    /common beginning/,
  ],
  [
    'HH-RLHF with chat: true',
    {
      chosen: '\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: I think so.',
      rejected: '\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: I do not.',
    },
    { chat: true },
    [user('Hi'), assistant('Yes?'), user('Why?')],
    [
      ['I think so.', 1],
      ['I do not.', -1],
    ],
    /common beginning/,
  ],
  [
    'Skywork: conversations without a prompt',
    {
      chosen: [user('Hi'), assistant('Hello')],
      rejected: [user('Hi'), assistant('Go away')],
      source: 'a',
    },
    {},
    [user('Hi')],
    [
      [[assistant('Hello')], 1],
      [[assistant('Go away')], -1],
    ],
    /common beginning/,
  ],
  [
    'ShareGPT: conversations of {from, value}, with a system message',
    { conversations: [{ from: 'system', value: 'Be kind.' }, human('Hi'), gpt('Hello')] },
    {},
    [system('Be kind.'), user('Hi')],
    [[[assistant('Hello')], 1]],
    /conversations \(conversations\), the last answer .*taken as accepted/,
  ],
  [
    'ShareGPT with a tool call',
    {
      conversations: [
        human('Sum?'),
        { from: 'function_call', value: '{"name": "add", "arguments": {"a": 1}}' },
        { from: 'observation', value: '3' },
        gpt('Three.'),
      ],
      tools: '[{"name": "add"}]',
    },
    {},
    [user('Sum?')],
    [
      [
        [
          {
            role: 'assistant',
            content: '',
            tool_calls: [{ type: 'function', function: { name: 'add', arguments: { a: 1 } } }],
          },
          { role: 'tool', content: '3' },
          assistant('Three.'),
        ],
        1,
      ],
    ],
    /conversations/,
  ],
  [
    'LLaMA-Factory: messages, label',
    { messages: [user('Hi'), assistant('Go away')], label: false },
    {},
    [user('Hi')],
    [[[assistant('Go away')], -1]],
    /conversations \(messages, label\)/,
  ],
  [
    'LLaMA-Factory: conversations, chosen, rejected',
    { conversations: [human('Hi')], chosen: gpt('Hello'), rejected: gpt('Go away') },
    {},
    [user('Hi')],
    [
      [[assistant('Hello')], 1],
      [[assistant('Go away')], -1],
    ],
    /LLaMA-Factory/,
  ],
  [
    'Alpaca',
    { instruction: 'Add.', input: '1 and 2', output: '3' },
    {},
    'Add.\n1 and 2',
    [['3', 1]],
    /Alpaca/,
  ],
  [
    'Alpaca with system and history',
    {
      instruction: 'And 3?',
      input: '',
      output: '6',
      system: 'Add.',
      history: [['1 and 2?', '3']],
    },
    {},
    [system('Add.'), user('1 and 2?'), assistant('3'), user('And 3?')],
    [['6', 1]],
    /Alpaca/,
  ],
  [
    'Alpaca pairs',
    { instruction: 'Add.', input: '1 and 2', chosen: '3', rejected: '4' },
    {},
    'Add.\n1 and 2',
    [
      ['3', 1],
      ['4', -1],
    ],
    /questions/,
  ],
  [
    'ms-swift: messages, rejected_response',
    { messages: [user('Hi'), assistant('Hello')], rejected_response: 'Go away' },
    {},
    [user('Hi')],
    [
      [[assistant('Hello')], 1],
      [[assistant('Go away')], -1],
    ],
    /ms-swift/,
  ],
  [
    'OpenAI messages',
    { messages: [{ role: 'developer', content: 'Be kind.' }, user('Hi'), assistant('Hello')] },
    {},
    [{ role: 'developer', content: 'Be kind.' }, user('Hi')],
    [[[assistant('Hello')], 1]],
    /conversations \(messages\)/,
  ],
  [
    "OpenAI's preferences",
    {
      input: { messages: [user('Hi')], tools: [], parallel_tool_calls: true },
      preferred_output: [assistant('Hello')],
      non_preferred_output: [assistant('Go away')],
    },
    {},
    [user('Hi')],
    [
      [[assistant('Hello')], 1],
      [[assistant('Go away')], -1],
    ],
    /OpenAI/,
  ],
  [
    'Orca-DPO',
    { system: 'Be brief.', question: 'Why?', chosen: 'So.', rejected: 'It is a long story.' },
    {},
    [system('Be brief.'), user('Why?')],
    [
      ['So.', 1],
      ['It is a long story.', -1],
    ],
    /questions .*\(question, system, chosen, rejected\)|\(.*question.*\)/,
  ],
  [
    'PKU-SafeRLHF',
    {
      prompt: 'How?',
      response_0: 'So.',
      response_1: 'No.',
      is_response_0_safe: false,
      is_response_1_safe: true,
      better_response_id: 0,
      safer_response_id: 1,
    },
    {},
    'How?',
    [
      ['So.', 1],
      ['No.', -1],
    ],
    /'better_response_id' says which is accepted/,
  ],
  [
    'PKU-SafeRLHF by the safer response',
    { prompt: 'How?', response_0: 'So.', response_1: 'No.', better_response_id: 0, safer_response_id: 1 },
    { columns: { better: 'safer_response_id' } },
    'How?',
    [
      ['No.', 1],
      ['So.', -1],
    ],
    /'safer_response_id' says/,
  ],
  [
    'HelpSteer2',
    {
      prompt: 'How?',
      response: 'So.',
      helpfulness: 3,
      correctness: 4,
      coherence: 4,
      complexity: 1,
      verbosity: 0,
    },
    { prefer: 'scores' },
    'How?',
    [['So.', 3]],
    /scored by 'helpfulness'/,
  ],
  [
    'HelpSteer2 by another column',
    { prompt: 'How?', response: 'So.', helpfulness: 3, verbosity: 0 },
    { prefer: 'scores', columns: { score: 'verbosity' } },
    'How?',
    [['So.', 0]],
    /scored by 'verbosity'/,
  ],
  [
    'Nectar',
    {
      prompt: '\n\nHuman: How?\n\nAssistant: ',
      answers: [
        { answer: 'So.', model: 'a', rank: 1 },
        { answer: 'No.', model: 'b', rank: 2 },
      ],
      turns: 1,
    },
    { prefer: 'scores', chat: true },
    [user('How?')],
    [
      ['So.', -1],
      ['No.', -2],
    ],
    /scored by minus 'rank'/,
  ],
  [
    'SHP',
    { history: 'How?', human_ref_A: 'So.', human_ref_B: 'No.', labels: 0, score_A: 3, score_B: 9 },
    {},
    'How?',
    [
      ['No.', 1],
      ['So.', -1],
    ],
    /'labels' is 1 where 'human_ref_A' is accepted, and 0 where 'human_ref_B' is/,
  ],
  [
    'UltraFeedback with all completions',
    {
      source: 'x',
      instruction: 'How?',
      completions: [
        { response: 'So.', overall_score: 8.5, 'fine-grained_score': 4.5, annotations: {} },
        { response: 'No.', overall_score: 3, 'fine-grained_score': 2, annotations: {} },
      ],
    },
    { prefer: 'scores' },
    'How?',
    [
      ['So.', 8.5],
      ['No.', 3],
    ],
    /scored by 'overall_score'/,
  ],
  [
    'UltraFeedback by another score',
    {
      instruction: 'How?',
      completions: [{ response: 'So.', overall_score: 8.5, 'fine-grained_score': 4.5 }],
    },
    { prefer: 'scores', columns: { score: 'fine-grained_score' } },
    'How?',
    [['So.', 4.5]],
    /scored by 'fine-grained_score'/,
  ],
  [
    'a list of completions with labels',
    { prompt: 'How?', completions: [{ completion: 'So.', label: -0.5 }] },
    {},
    'How?',
    [['So.', -0.5]],
    /\(prompt, completions\)/,
  ],
  [
    'columns of other names',
    { q: 'How?', a: 'So.', verdict: 'good', by: 'me' },
    {
      columns: { prompt: 'q', completion: 'a', label: 'verdict' },
      labels: { accepted: 'good', rejected: ['bad', 'awful'] },
    },
    'How?',
    [['So.', 1]],
    /\(q, a, verdict\)|\(q, .*verdict\)/,
  ],
];

describe('a data set is recognised by its columns:', () => {
  it.each(shapes)('%s', (_, row, options, prompt, completions, description) => {
    const { contexts, shape } = read([row], options);
    expect(
      contexts.map((context) => [
        context.prompt.messages ?? context.prompt.text,
        context.completions.map(({ text, messages, evaluation }) => [messages ?? text, evaluation]),
      ]),
    ).toEqual([[prompt, completions]]);
    expect(shape).toMatch(description);
    // The text of a chat is what a person reads first.
    for (const { text, messages } of contexts[0]!.completions)
      expect(text).toBe(messages?.at(-1)?.content ?? text);
  });
});

describe('language.dataset.columns', () => {
  it.each(shapes.filter(([, , options]) => options.columns === undefined))(
    'may name the columns by which a data set is recognised: %s',
    (_, row, options) => {
      const { contexts, shape } = read([row], options);
      const roles = columnsRead([row]);
      expect(Object.keys(roles).length).toBeGreaterThan(0);
      for (const columns of [roles, ...Object.entries(roles).map(([role, column]) => ({ [role]: column }))]) {
        const named = read([row], { ...options, columns });
        expect({ columns, shape: named.shape }).toEqual({ columns, shape });
        expect(named.contexts).toEqual(contexts);
      }
    },
  );

  it('are read as docs/aligning.md says', () => {
    const rows = [{ q: 'How?', good: 'So.', bad: 'No.' }];
    const { contexts, shape } = read(rows, { columns: { prompt: 'q', chosen: 'good', rejected: 'bad' } });
    expect(shape).toBe('prompts with judged completions (q, good, bad)');
    expect(contexts[0]).toMatchObject({
      prompt: { text: 'How?' },
      completions: [
        { text: 'So.', evaluation: 1 },
        { text: 'No.', evaluation: -1 },
      ],
    });
  });

  it('of two answers name the better one by its number', () => {
    const rows = [{ q: 'How?', a: 'So.', b: 'No.', best: 0 }];
    const columns = { prompt: 'q', first: 'a', second: 'b', better: 'best' };
    const { contexts, shape } = read(rows, { columns });
    expect(shape).toMatch(/'best' says which is accepted \(0: 'a', 1: 'b'\)/);
    expect(contexts[0]!.completions.map(({ text, evaluation }) => [text, evaluation])).toEqual([
      ['So.', 1],
      ['No.', -1],
    ]);
  });

  it('name a completion that is meant where the data have pairs, too', () => {
    const row = { prompt: 'How?', chosen: 'a', rejected: 'b', completion: 'c', label: false };
    const { contexts } = read([row], { columns: { completion: 'completion' } });
    expect(contexts[0]!.completions).toEqual([{ text: 'c', evaluation: -1 }]);
  });

  it('make the first rank the best score', () => {
    const rows = [1, 2].map((rank) => ({ prompt: 'How?', completion: `${rank}`, rank }));
    const { contexts, shape } = read(rows, { columns: { score: 'rank' } });
    expect(shape).toMatch(/scored by minus 'rank'/);
    expect(contexts[0]!.completions.map(({ evaluation }) => evaluation)).toEqual([-1, -2]);
  });

  it('are refused for labels beside pairs, which say themselves what is accepted', () => {
    const row = { prompt: 'How?', chosen: 'a', rejected: 'b', rating: 3 };
    expect(() => read([row], { columns: { score: 'rating' } })).toThrow(
      /language\.dataset\.columns\.score: 'rating' would not be read, because the rows have chosen, rejected/,
    );
  });
});

describe('columns that may say how good a completion is', () => {
  it.each([
    { reward: -3 },
    { rating: 1 },
    { desirable: false },
    { is_correct: false },
    { Preference: 'bad' },
    { feedback: 'poor' },
    { 'thumbs-up': 0 },
    { quality: 0.1 },
  ])('are not passed over: %j', (verdict) => {
    const [column] = Object.keys(verdict);
    for (const row of [
      { prompt: 'How?', completion: 'So.' },
      { instruction: 'How?', output: 'So.' },
      { messages: [user('How?'), assistant('So.')] },
    ]) {
      const rows = [{ ...row, ...verdict }];
      expect(() => read(rows)).toThrow(
        `the column '${column}' may say how good it is. Set language.dataset.columns: {label: ${column}}`,
      );
      const { contexts, unread } = read(rows, { labels: 'none' });
      expect(contexts[0]!.completions[0]!.evaluation).toBe(1);
      expect(unread).toEqual([column]);
    }
  });

  it('are not read with labels: none, which pairs refuse', () => {
    const { contexts, unread, evaluations } = read(
      [{ prompt: 'How?', completion: 'So.', label: false, score: -3 }],
      { labels: 'none', prefer: 'scores' },
    );
    expect(contexts[0]!.completions).toEqual([{ text: 'So.', evaluation: 1 }]);
    expect(unread).toEqual(['label', 'score']);
    expect(evaluations).toBe('labels');
    expect(() => read([{ prompt: 'How?', chosen: 'a', rejected: 'b' }], { labels: 'none' })).toThrow(
      /language\.dataset\.labels: 'none' takes every completion as accepted, but f\.jsonl has 'rejected'/,
    );
  });

  it('are refused beside pairs where they name the rejected side', () => {
    const pair = { prompt: 'How?', chosen: 'a', rejected: 'b' };
    expect(() =>
      read([
        { ...pair, preference: 'chosen' },
        { ...pair, preference: 'rejected' },
      ]),
    ).toThrow(
      /f\.jsonl:2: 'preference' says that the side in 'rejected' is the better one, and this column is not read/,
    );
    expect(read([{ ...pair, preference: 'chosen', label: 1, score: 3 }])).toMatchObject({
      shape: 'prompts with judged completions (prompt, chosen, rejected)',
      unread: ['preference', 'label', 'score'],
    });
  });
});

describe('chats that are stored as texts', () => {
  const isChat = (value: unknown) => Array.isArray(value) && typeof value[0] === 'object';
  const chats = shapes.filter(([, row]) =>
    ['prompt', 'completion', 'chosen', 'rejected', 'messages', 'conversations', 'preferred_output'].some(
      (column) => isChat((row as Row)[column]),
    ),
  );
  it.each(chats)('are read as the same chats: %s', (_, row, options) => {
    const texts = Object.fromEntries(
      Object.entries(row).map(([column, value]) => [
        column,
        isChat(value) && column !== 'completions' && column !== 'tools' ? JSON.stringify(value) : value,
      ]),
    );
    expect(texts).not.toEqual(row);
    expect(
      read([texts], options).contexts.map(({ prompt: { row: _row, ...prompt }, completions }) => [
        prompt,
        completions,
      ]),
    ).toEqual(
      read([row], options).contexts.map(({ prompt: { row: _row, ...prompt }, completions }) => [
        prompt,
        completions,
      ]),
    );
  });

  it.each([
    "[{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]",
    "array([{'content': 'Hi', 'role': 'user'}], dtype=object)",
    '[{"from": "human", "value": "Hi"}, {"fr',
  ])('are left out by name if they cannot be parsed: %s', (text) => {
    const good = { prompt: 'How?', chosen: 'a', rejected: 'b' };
    for (const column of ['prompt', 'chosen', 'rejected']) {
      const { leftOut, contexts } = read([good, { ...good, [column]: text }]);
      expect(contexts).toHaveLength(1);
      expect(leftOut.summary).toContain(
        `the text in '${column}' looks like a list of messages, but is not JSON`,
      );
    }
    expect(() => read([{ messages: text }])).toThrow(/f\.jsonl:1: the text in 'messages' looks like a list/);
  });

  it('are not other lists in JSON, which an answer may be', () => {
    const chosen = '[{"name": "Ada"}]';
    const { contexts } = read([{ prompt: 'A list?', chosen, rejected: "[{'name': 'Ada'}]" }]);
    expect(contexts[0]!.completions.map(({ text }) => text)).toEqual([chosen, "[{'name': 'Ada'}]"]);
  });
});

describe('rows are of one prompt', () => {
  it("unless the template's variables differ", () => {
    const rows = [true, false, true].map((enable_thinking, i) => ({
      prompt: [user('How?')],
      completion: [assistant(`${i}`)],
      label: true,
      chat_template_kwargs: { enable_thinking },
    }));
    const { contexts, unread } = read(rows);
    expect(contexts.map(({ prompt, completions }) => [prompt.templateVariables, completions.length])).toEqual(
      [
        [{ enable_thinking: true }, 2],
        [{ enable_thinking: false }, 1],
      ],
    );
    expect(unread).toEqual([]);
    expect(() => read([{ ...rows[0], chat_template_kwargs: 'thinking' }])).toThrow(
      /'chat_template_kwargs' is not an object: "thinking"/,
    );
  });

  it('if chat: true makes a text the same chat', () => {
    const rows = [
      { prompt: 'Hi', completion: 'Hello', label: true },
      { prompt: [user('Hi')], completion: [assistant('No.')], label: false },
    ];
    expect(read(rows).contexts).toHaveLength(2);
    expect(read(rows, { chat: true }).contexts).toHaveLength(1);
  });

  it('if their messages have the same 64-bit integers', () => {
    const row = (id: bigint) => ({
      chosen: [{ ...user('Hi'), id }, assistant('Hello')],
      rejected: [{ ...user('Hi'), id }, assistant('No.')],
    });
    const { contexts } = read([row(2n ** 60n), row(2n ** 60n), row(2n ** 60n + 1n)]);
    expect(contexts.map(({ completions }) => completions.length)).toEqual([4, 2]);
  });
});

describe('readPreferences', () => {
  it("leaves out a row whose 'system' differs from the chat's own system message", () => {
    const row = (own: string) => ({
      system: 'Be brief.',
      messages: [system(own), user('How?'), assistant('So.')],
    });
    const { contexts, leftOut } = read([row('Be brief.'), row('Be long.')]);
    expect(contexts.map(({ prompt }) => prompt.messages![0])).toEqual([system('Be brief.')]);
    expect(leftOut.summary).toMatch(
      /'system' differs from the chat's own system message \(first at f\.jsonl:2\)/,
    );
  });

  it('reads rows of several kinds in one file, and merges those with the same prompt', () => {
    const { contexts } = read([
      { prompt: 'a', chosen: 'good', rejected: 'bad' },
      { prompt: 'b', rejected: 'bad' },
      { prompt: 'a', completion: 'fine', label: true },
      { prompt: 'c', completions: [{ completion: 'worse', label: -0.5 }] },
      { prompt: 'd', chosen: [assistant('Yes')] },
    ]);
    expect(contexts.map(({ prompt, completions }) => [prompt.text, completions])).toEqual([
      [
        'a',
        [
          { text: 'good', evaluation: 1 },
          { text: 'bad', evaluation: -1 },
          { text: 'fine', evaluation: 1 },
        ],
      ],
      ['b', [{ text: 'bad', evaluation: -1 }]],
      ['c', [{ text: 'worse', evaluation: -0.5 }]],
      ['d', [{ text: 'Yes', messages: [assistant('Yes')], evaluation: 1 }]],
    ]);
    expect(contexts.at(-1)!.prompt.messages).toEqual([user('d')]);
  });

  it('keeps each pair a context, if asked', () => {
    const rows = [1, 2].map((i) => ({ prompt: 'a', chosen: `good ${i}`, rejected: 'bad' }));
    expect(read(rows).contexts).toHaveLength(1);
    expect(read(rows, { merge: false }).contexts).toHaveLength(2);
  });

  it('takes labels or scores, as asked, where a row has both', () => {
    const rows = [{ prompt: 'a', completion: 'x', label: true, score: 7 }];
    const evaluationOf = (prefer: 'labels' | 'scores') => {
      const { contexts, evaluations } = read(rows, { prefer });
      return [evaluations, contexts[0]!.completions[0]!.evaluation];
    };
    expect(evaluationOf('labels')).toEqual(['labels', 1]);
    expect(evaluationOf('scores')).toEqual(['scores', 7]);
  });

  it.each<[string, object, RegExp]>([
    [
      'null content',
      { chosen: [user('a'), assistant('b')], rejected: [user('a'), { role: 'assistant', content: null }] },
      /1 because a message of the assistant has no content \(first at f\.jsonl:2\)/,
    ],
    [
      'an empty completion',
      { chosen: [user('a'), assistant('b')], rejected: [user('a'), assistant(' ')] },
      /'rejected' is empty/,
    ],
    [
      'an empty prompt',
      { chosen: [user(''), assistant('b')], rejected: [user(''), assistant('c')] },
      /the prompt is empty/,
    ],
    [
      'an image',
      {
        chosen: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }, assistant('b')],
        rejected: [assistant('c')],
      },
      /a message of the user has a part that is no text: image_url/,
    ],
    [
      'an unknown role',
      { chosen: [{ role: 'robot', content: 'a' }, assistant('b')], rejected: [user('a'), assistant('c')] },
      /unknown role 'robot'/,
    ],
    [
      'sides that are the same',
      { chosen: [user('a'), assistant('b')], rejected: [user('a'), assistant('b')] },
      /'chosen' and 'rejected' are the same/,
    ],
    [
      'sides without a common beginning',
      { chosen: [user('a'), assistant('b')], rejected: [user('x'), assistant('c')] },
      /no common beginning/,
    ],
    ['no side', { chosen: null, rejected: null }, /neither 'chosen' nor 'rejected'/],
    [
      'an answer that ends with the user',
      { chosen: [user('a'), assistant('b'), user('c')], rejected: [user('a'), assistant('d')] },
      /'chosen' does not end with an answer/,
    ],
  ])('leaves out and counts a row with %s', (_, bad, summary) => {
    const good = { chosen: [user('Hi'), assistant('Hello')], rejected: [user('Hi'), assistant('No')] };
    const { contexts, leftOut } = read([good, bad]);
    expect(contexts).toHaveLength(1);
    expect(leftOut.count).toBe(1);
    expect(leftOut.summary).toMatch(summary);
    expect(() => read([bad, { ...good, ...bad }])).toThrow(
      /f\.jsonl:1: .*none of the 2 rows can be used|columns are/,
    );
  });

  it('joins the text of parts, and keeps tool calls without content', () => {
    const { contexts } = read([
      {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Add ' },
              { type: 'text', text: '1 and 2.' },
            ],
          },
          { role: 'assistant', content: null, tool_calls: [{ id: '1' }] },
          { role: 'tool', content: '3', tool_call_id: '1', name: null },
          assistant('3'),
        ],
        tools: [{ name: 'add' }],
      },
    ]);
    expect(contexts[0]!.prompt).toMatchObject({ text: 'Add 1 and 2.', tools: [{ name: 'add' }] });
    expect(contexts[0]!.completions[0]).toMatchObject({
      text: '3',
      messages: [
        { role: 'assistant', content: '', tool_calls: [{ id: '1' }] },
        { role: 'tool', content: '3', tool_call_id: '1' },
        assistant('3'),
      ],
    });
  });

  it('makes all prompts chats where some rows have a system message', () => {
    const rows = ['Be brief.', ''].map((text, i) => ({
      system: text,
      question: `Why ${i}?`,
      chosen: 'a',
      rejected: 'b',
    }));
    expect(read(rows).contexts.map(({ prompt }) => prompt.messages)).toEqual([
      [system('Be brief.'), user('Why 0?')],
      [user('Why 1?')],
    ]);
    expect(read(rows.slice(1)).contexts[0]!.prompt).toMatchObject({ text: 'Why 1?' });
    expect(read(rows.slice(1)).contexts[0]!.prompt.messages).toBeUndefined();
  });

  it('leaves out single completions of a list', () => {
    const completions = [
      { response: 'a', overall_score: 1 },
      { response: 'b', overall_score: 'N/A' },
    ];
    const { contexts, leftOut } = read([{ instruction: 'How?', completions }], { prefer: 'scores' });
    expect(contexts[0]!.completions).toEqual([{ text: 'a', evaluation: 1 }]);
    expect(leftOut.summary).toMatch(
      /1 completion left out: 1 completion because 'overall_score' is not a number: "N\/A"/,
    );
  });

  it('counts rows and completions that are left out apart', () => {
    const of = (overall_score: unknown) => ({ response: `${String(overall_score)}`, overall_score });
    const { leftOut } = read(
      [
        { instruction: 'a', completions: [of(1), of('N/A'), of('?')] },
        { instruction: '', completions: [of(1)] },
        { instruction: 'b', completions: [of(3), of('-')] },
      ],
      { prefer: 'scores' },
    );
    expect(leftOut.summary).toMatch(
      /^1 row and 3 completions left out: .*1 row because 'instruction' is empty/,
    );
  });

  it('says in one line what was read, and what was not', () => {
    const data = read([
      { prompt: 'a', completion: 'x', label: true, by: 'me' },
      { prompt: 'a', completion: 'y', label: false, by: 'me' },
      { prompt: 'b', completion: '', label: false, by: 'me' },
      { prompt: 'b', completion: 'z', label: null, by: 'me' },
    ]);
    expect(readAsLine('f.jsonl', data)).toBe(
      "f.jsonl: read as prompts with judged completions (prompt, completion, label): 4 rows, 1 context, 1 accepted and 1 rejected completion; 2 left out: 1 because 'completion' is empty (first at f.jsonl:3), 1 because a completion has no label (first at f.jsonl:4); columns that are not read: by",
    );
  });

  it('reads a column that is named for one role in that role alone', () => {
    const rows = [
      { prompt: 'a', completion: 'x', label: 4 },
      { prompt: 'a', completion: 'y', label: 0 },
    ];
    for (const prefer of ['labels', 'scores'] as const) {
      const { evaluations, contexts } = read(rows, { columns: { score: 'label' }, prefer });
      expect(evaluations).toBe('scores');
      expect(contexts[0]!.completions.map(({ evaluation }) => evaluation)).toEqual([4, 0]);
    }
  });

  it.each<[object, PreferenceOptions, RegExp]>([
    [
      { text: 'a' },
      {},
      /f\.jsonl: its columns are text, and no known shape .*Set language\.dataset\.columns/,
    ],
    [
      { q: 'a', chosen: 'b' },
      { columns: { prompt: 'qq' } },
      /language\.dataset\.columns\.prompt: f\.jsonl has no column 'qq'. Did you mean 'q'\?/,
    ],
    [{ prompt: 'a', completion: 'x' }, { columns: { score: 'helpful' } }, /has no column 'helpful'/],
    [
      { prompt: 'a', completion: 7, label: true },
      {},
      /f\.jsonl:1: 'completion' is neither text nor a chat: 7/,
    ],
  ])('%j with %j is an error', (row, options, message) => {
    expect(() => read([row], options)).toThrow(message);
  });
});
