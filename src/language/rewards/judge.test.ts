import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { judgeDefinition, ratingIn } from './judge.js';

let folder: string;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-judge-'));
  return () => rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('ratingIn', () => {
  it.each<[string, number | undefined]>([
    ['8', 8],
    ['**7.5**', 7.5],
    ['Rating: 8/10', 8],
    ['8 out of 10, since it is kind', 8],
    ['10/10', 10],
    ['10', 10],
    ['I say 6. Yes, 6.', 6],
    ['12 points? no: 7', 7],
    // Several numbers: the answer is ambiguous.
    ['On a scale of 0 to 10, I give it 8.', undefined],
    ['1. Relevance: good. Overall 9', undefined],
    ['11', undefined],
    ['-1', undefined],
    ['none at all', undefined],
    ['', undefined],
  ])('reads %j as %s', (answer, expected) => {
    expect(ratingIn(answer, { range: [0, 10] })).toBe(expected);
  });

  it('takes the last match of a pattern', () => {
    const settings = { range: [0, 10] as [number, number], pattern: 'overall\\W+(\\d+)' };
    expect(ratingIn('1. Relevance 9. Overall: 3. No: overall 4', settings)).toBe(4);
    expect(ratingIn('Overall: 40', settings)).toBeUndefined();
    expect(ratingIn('9', settings)).toBeUndefined();
  });
});

const answers = (content: string | null) => (response: ServerResponse) =>
  response.end(JSON.stringify({ choices: [{ message: { content } }] }));

interface Question {
  readonly temperature: number;
  readonly messages: readonly { readonly content: string }[];
}

/** A judge behind an HTTP endpoint that answers by `respond`. */
async function judge(
  respond: (question: string, attempt: number) => (response: ServerResponse) => void,
  { template = '{{prompt}}|{{completion}}', ...settings }: Record<string, unknown> = {},
) {
  const asked: Question[] = [];
  const counts = new Map<string, number>();
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    const body = JSON.parse(text) as Question;
    asked.push(body);
    const question = body.messages[0]!.content;
    const attempt = counts.get(question) ?? 0;
    counts.set(question, attempt + 1);
    respond(question, attempt)(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  const { port } = server.address() as { port: number };
  const file = join(folder, 'question.txt');
  await writeFile(file, String(template));
  const notices: string[] = [];
  const reward = await judgeDefinition.open(
    judgeDefinition.settings.parse({
      url: `http://127.0.0.1:${port}`,
      model: 'm',
      template: file,
      ...settings,
    }) as never,
    { where: 'language.reward', notice: (message) => notices.push(message) },
  );
  cleanups.push(() => reward.close());
  const rate = (...completions: string[]) =>
    reward.evaluate(
      completions.map((completion) => ({
        prompt: 'Go on.',
        conversation: 'user: Of violets.\n\nuser: Go on.',
        completion,
        finishReason: 'stop',
        row: {},
      })),
    );
  return { rate, asked, notices };
}

describe('a judge', () => {
  it('rates each completion, and is asked again at temperature 1 if its answer has no rating', async () => {
    const { rate, asked, notices } = await judge((question, attempt) =>
      answers(question.endsWith('b') && attempt === 0 ? 'Hm.' : question.endsWith('b') ? '3' : '8/10'),
    );
    expect(await rate('a', 'b')).toEqual([8, 3]);
    expect(asked.map(({ temperature }) => temperature).sort()).toEqual([0, 0, 1]);
    expect(notices).toEqual([]);
  });

  it('does not read what the judge thinks before its answer', async () => {
    const { rate } = await judge(() => answers('<think>It is 3, or 4?</think>\n8'));
    expect(await rate('a')).toEqual([8]);
  });

  it('shows an answer without a rating, and rates the other completions', async () => {
    const { rate, notices } = await judge((question) =>
      answers(question.endsWith('b') ? 'From 0 to 10: 4' : '8'),
    );
    expect(await rate('a', 'b', 'c')).toEqual([8, undefined, 8]);
    expect(notices).toEqual([
      "language.reward: a completion was not judged: the answer 'From 0 to 10: 4' has no unambiguous number from 0 to 10",
    ]);
  });

  it('rates the other completions if an answer has no text or a question is refused', async () => {
    const { rate, notices } = await judge((question) => {
      if (question.endsWith('b')) return answers(null);
      if (question.endsWith('c')) return (response) => response.writeHead(400).end('too long');
      return answers('8');
    });
    expect(await rate('a', 'b', 'c')).toEqual([8, undefined, undefined]);
    expect(notices.sort()).toEqual([
      expect.stringContaining('the answer has no text'),
      expect.stringContaining('the endpoint answers 400'),
    ]);
  });

  it('shows at most three such answers', async () => {
    const { rate, notices } = await judge(() => answers('Hm.'));
    await rate('a', 'b', 'c', 'd', 'e');
    expect(notices).toHaveLength(3);
  });

  it('fails if the endpoint rejects the token', async () => {
    const { rate } = await judge(() => (response) => response.writeHead(401).end());
    await expect(rate('a')).rejects.toThrow(/401.*Give the right token/);
  });

  it('gets the whole chat if the template asks for it', async () => {
    const { rate, asked } = await judge(() => answers('8'), { template: '{{conversation}}|{{completion}}' });
    await rate('a');
    expect(asked[0]!.messages[0]!.content).toBe('user: Of violets.\n\nuser: Go on.|a');
  });

  it.each([
    ['(\\d', /language\.reward\.pattern: it is not a regular expression/],
    ['\\d+', /language\.reward\.pattern: it has 0 groups\. It must have one/],
  ])('refuses the pattern %j', async (pattern, message) => {
    await expect(judge(() => answers('8'), { pattern })).rejects.toThrow(message);
  });
});
