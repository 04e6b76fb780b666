import { describe, expect, it } from 'vitest';
import { assistant, read, system, user } from '../../test/support/dataset-rows.js';
import { shapes } from '../../test/support/dataset-shapes.js';
import { type PreferenceOptions, readAsLine } from './preferences.js';
import type { Row } from './rows.js';

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
      { observation: [0], action: [1], reward: 0, next_observation: [1], terminated: false },
      {},
      /f\.jsonl: these are transitions of a simulator, .*name the file in `dataset: \{file: …\}`/,
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
