import { describe, expect, it } from 'vitest';
import { read } from '../../test/support/dataset-rows.js';
import { shapes } from '../../test/support/dataset-shapes.js';
import type { Row } from './rows.js';
import type { Columns } from './shape-cells.js';
import { shapeOf } from './shapes.js';

/** The roles of the columns by which rows are recognised. */
const columnsRead = (rows: readonly object[]): Columns =>
  shapeOf(
    rows.map((row) => ({ row: row as Row, where: 'f.jsonl' })),
    'f.jsonl',
  ).columns;

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
