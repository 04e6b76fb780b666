import type { PreferenceOptions } from '../../src/datasets/preferences.js';
import { assistant, gpt, human, system, user } from './dataset-rows.js';

/**
 * One row for each shape of data sets that people have: the columns are those of the real data sets, the rows were written for the tests.
 */

/** A prompt as it was read: its text, or its messages. */
type ExpectedPrompt = string | readonly object[];
/** A completion as it was read: its text or messages, and its evaluation. */
type ExpectedCompletion = readonly [string | readonly object[], number];

export const shapes: readonly (readonly [
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
