import { unreadable } from './left-out.js';
import { chatIn, lastExchange, present } from './messages.js';
import { answerAfter, answerOf } from './pairs.js';
import { chatPrompt, completedPrompt, promptIn } from './prompts.js';
import {
  alpacaPrompt,
  conversation,
  judged,
  listRow,
  pairRow,
  rankedScoreIn,
  type ShapeDefinition,
  scoreIn,
  twoAnswers,
} from './shape-cells.js';

/** The shapes of data sets of judged completions. */

const beside = { system: 'system', tools: 'tools' } as const;
const judgement = { label: ['label', 'kto_tag'], score: 'score' } as const;

/** In the order in which they are tried. */
export const shapeDefinitions: readonly ShapeDefinition[] = [
  {
    name: "OpenAI's preferences",
    columns: { prompt: 'input', chosen: 'preferred_output', rejected: 'non_preferred_output' },
    ownColumns: ['chosen', 'rejected'],
    needs: [['prompt'], ['chosen'], ['rejected']],
    read(cells, nameOf) {
      const input = cells('prompt');
      const { messages, tools } = (input ?? {}) as { readonly messages?: unknown; readonly tools?: unknown };
      const prompt =
        chatIn(messages, nameOf('prompt')) ?? unreadable(`'${nameOf('prompt')}' has no messages`);
      const row = pairRow(cells, nameOf, chatPrompt(prompt));
      return { ...row, prompt: completedPrompt(row.prompt, { tools }) };
    },
  },
  {
    name: "SHP's pairs",
    columns: { prompt: 'history', first: 'human_ref_A', second: 'human_ref_B', better: 'labels' },
    ownColumns: ['first', 'second', 'better'],
    needs: [['prompt'], ['first'], ['second'], ['better']],
    read(cells, nameOf) {
      const label = scoreIn(cells('better'), nameOf('better'));
      if (label !== 0 && label !== 1) return unreadable(`'${nameOf('better')}' is neither 0 nor 1: ${label}`);
      return twoAnswers(cells, nameOf, label === 1);
    },
    note: (nameOf) =>
      `'${nameOf('better')}' is 1 where '${nameOf('first')}' is accepted, and 0 where '${nameOf('second')}' is`,
  },
  {
    name: 'two responses and the number of the better one',
    columns: {
      prompt: 'prompt',
      first: 'response_0',
      second: 'response_1',
      better: 'better_response_id',
      ...beside,
    },
    needs: [['prompt'], ['first'], ['second'], ['better']],
    read(cells, nameOf) {
      const better = scoreIn(cells('better'), nameOf('better'));
      if (better !== 0 && better !== 1)
        return unreadable(`'${nameOf('better')}' is neither 0 nor 1: ${better}`);
      return twoAnswers(cells, nameOf, better === 0);
    },
    note: (nameOf) =>
      `'${nameOf('better')}' says which is accepted (0: '${nameOf('first')}', 1: '${nameOf('second')}'), and the other one is rejected, though both may be good or bad`,
  },
  {
    name: 'prompts with a scored response',
    columns: { prompt: 'prompt', completion: 'response', score: 'helpfulness', ...beside },
    ownColumns: ['completion'],
    needs: [['prompt'], ['completion'], ['score']],
    read(cells, nameOf) {
      const prompt = promptIn(cells('prompt'), nameOf('prompt'));
      const answer = answerAfter(prompt, cells('completion'), nameOf('completion'));
      return { prompt, completions: [{ ...answer, score: rankedScoreIn(cells('score'), nameOf('score')) }] };
    },
  },
  {
    name: 'prompts with judged completions',
    columns: {
      prompt: 'prompt',
      chosen: 'chosen',
      rejected: 'rejected',
      completion: 'completion',
      completions: 'completions',
      label: 'label',
      score: 'score',
      ...beside,
    },
    needs: [['prompt'], ['chosen', 'rejected', 'completion', 'completions']],
    read(cells, nameOf) {
      const prompt = promptIn(cells('prompt'), nameOf('prompt'));
      if (present(cells('chosen')) || present(cells('rejected'))) return pairRow(cells, nameOf, prompt);
      if (present(cells('completions'))) return listRow(cells, nameOf, prompt);
      const answer = answerAfter(prompt, cells('completion'), nameOf('completion'));
      return { prompt, completions: [{ ...answer, ...judged(cells, nameOf) }] };
    },
  },
  {
    name: 'prompts with lists of judged completions',
    columns: { prompt: ['prompt', 'instruction'], completions: ['completions', 'answers'], ...beside },
    needs: [['prompt'], ['completions']],
    read: (cells, nameOf) => listRow(cells, nameOf, promptIn(cells('prompt'), nameOf('prompt'))),
  },
  {
    name: 'conversations with a chosen and a rejected answer (LLaMA-Factory)',
    columns: { messages: ['conversations', 'messages'], chosen: 'chosen', rejected: 'rejected', ...beside },
    needs: [['messages'], ['chosen'], ['rejected']],
    read: (cells, nameOf) => pairRow(cells, nameOf, chatPrompt(conversation(cells, nameOf))),
  },
  {
    name: 'conversations with a rejected answer (ms-swift)',
    columns: {
      messages: 'messages',
      rejected: ['rejected_response', 'rejected_messages'],
      ...beside,
    },
    needs: [['messages'], ['rejected']],
    read(cells, nameOf) {
      const { prompt, answer } = lastExchange(conversation(cells, nameOf));
      const context = chatPrompt(prompt);
      const other = answerAfter(context, cells('rejected'), nameOf('rejected'));
      // A text as a message, like the answer that it is compared with.
      const rejected = other.messages ?? [{ role: 'assistant' as const, content: other.text }];
      return pairRow(
        (role) => (role === 'messages' ? answer : role === 'rejected' ? rejected : undefined),
        nameOf,
        context,
        'messages',
      );
    },
  },
  {
    name: 'questions with a chosen and a rejected answer',
    columns: {
      prompt: ['question', 'instruction', 'query', 'input'],
      input: 'input',
      system: 'system',
      history: 'history',
      tools: 'tools',
      chosen: 'chosen',
      rejected: ['rejected', 'rejected_response'],
    },
    needs: [['prompt'], ['chosen'], ['rejected']],
    read: (cells, nameOf) =>
      pairRow(
        cells,
        nameOf,
        alpacaPrompt(
          (role) => (role === 'input' && nameOf('prompt') === nameOf('input') ? undefined : cells(role)),
          nameOf,
        ),
      ),
  },
  {
    name: 'pairs whose prompt is their common beginning',
    columns: { chosen: 'chosen', rejected: 'rejected', ...beside },
    needs: [['chosen'], ['rejected']],
    read: (cells, nameOf) => pairRow(cells, nameOf, undefined),
  },
  {
    name: 'conversations',
    columns: { messages: ['messages', 'conversations', 'conversation'], ...judgement, ...beside },
    needs: [['messages']],
    read(cells, nameOf) {
      const { prompt, answer } = lastExchange(conversation(cells, nameOf));
      const completion = answerOf(answer, nameOf('messages'));
      return { prompt: chatPrompt(prompt), completions: [{ ...completion, ...judged(cells, nameOf) }] };
    },
    note: () => 'the last answer of each is the completion',
  },
  {
    name: 'instructions with an output (Alpaca)',
    columns: {
      prompt: ['instruction', 'query'],
      input: 'input',
      completion: ['output', 'response'],
      rejected: 'rejected_response',
      history: 'history',
      ...judgement,
      ...beside,
    },
    needs: [['prompt'], ['completion']],
    read(cells, nameOf) {
      const prompt = alpacaPrompt(cells, nameOf);
      if (present(cells('rejected'))) return pairRow(cells, nameOf, prompt, 'completion');
      const answer = answerAfter(prompt, cells('completion'), nameOf('completion'));
      return { prompt, completions: [{ ...answer, ...judged(cells, nameOf) }] };
    },
  },
];
