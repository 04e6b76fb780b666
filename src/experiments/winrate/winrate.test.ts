import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { publicModules } from '../../public-modules.js';
import { winnerOf } from './judges.js';
import { tally } from './tally.js';
import type { Verdict } from './verdicts.js';
import { measureWinRate } from './winrate.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-winrate-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const verdict = (index: number, first: 'a' | 'b', winner: Verdict['winner']): Verdict => ({
  index,
  first,
  winner,
  answer: '',
  prompt: `p${index}`,
  a: 'A',
  b: 'B',
  finishReasons: ['stop', 'stop'],
});

describe('tally', () => {
  it('counts one outcome for each prompt, and contradictory verdicts as a tie', () => {
    const result = tally([
      verdict(0, 'a', 'a'),
      verdict(0, 'b', 'a'),
      // Always the first: a tie.
      verdict(1, 'a', 'a'),
      verdict(1, 'b', 'b'),
      verdict(2, 'a', 'tie'),
      verdict(2, 'b', 'b'),
      verdict(3, 'a', 'unanswered'),
      verdict(3, 'b', 'a'),
      verdict(4, 'a', 'unanswered'),
    ]);
    expect(result).toMatchObject({ prompts: 5, wins: 1, losses: 1, ties: 1, unanswered: 2, winRate: 0.5 });
    expect(result.interval[0]).toBeLessThan(0.5);
    expect(result.interval[1]).toBeGreaterThan(0.5);
  });
});

it('winnerOf maps a decision on first and second to A and B', () => {
  expect(winnerOf({ better: 'first', answer: '' }, 'a')).toBe('a');
  expect(winnerOf({ better: 'first', answer: '' }, 'b')).toBe('b');
  expect(winnerOf({ better: 'second', answer: '' }, 'b')).toBe('a');
  expect(winnerOf({ better: 'tie', answer: '' }, 'b')).toBe('tie');
});

const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

async function files() {
  const at = (name: string) => join(folder, name);
  await writeFile(at('prompts.jsonl'), lines([{ prompt: 'x' }, { prompt: 'y' }, { prompt: 'z' }]));
  const completions = (...texts: string[]) =>
    lines(['x', 'y', 'z'].map((prompt, i) => ({ prompt, completion: texts[i] })));
  await writeFile(at('a.jsonl'), completions('long', 'longer', 'same'));
  await writeFile(at('b.jsonl'), completions('s', 'the longest', 'ties'));
  await writeFile(
    at('length.ts'),
    'export const reward = ({ completion }: { completion: string }) => completion.length;\n',
  );
  await writeFile(at('first.mjs'), "export const compare = () => 'first';\n");
  return at;
}

const options = (at: (name: string) => string, judge: string, output: string) => ({
  a: at('a.jsonl'),
  b: at('b.jsonl'),
  prompts: at('prompts.jsonl'),
  field: 'prompt',
  chat: false,
  judge: at(judge),
  modules: {},
  sampling: { maxTokens: 8 },
  seed: 0,
  output: at(output),
});

describe('measureWinRate', () => {
  it('compares by a reward, and writes the verdicts to a file', async () => {
    const at = await files();
    const result = await measureWinRate(options(at, 'length.ts', 'verdicts/by-length.jsonl'));
    expect(result).toMatchObject({ wins: 1, losses: 1, ties: 1, unanswered: 0, winRate: 0.5 });
    const kept = (await readFile(at('verdicts/by-length.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l));
    expect(kept[0]).toMatchObject({ judge: at('length.ts') });
    expect(kept.slice(1)).toContainEqual({
      index: 1,
      first: 'a',
      prompt: 'y',
      a: 'longer',
      b: 'the longest',
      finishReasons: ['stop', 'stop'],
      winner: 'b',
      answer: '6 and 11',
    });
  });

  it('asks a judge that sees both completions in both orders; always preferring the first is a tie', async () => {
    const at = await files();
    const result = await measureWinRate(options(at, 'first.mjs', 'first.jsonl'));
    expect(result).toMatchObject({ ties: 3, winRate: 0.5 });
  });

  it('resumes from its file, and asks no question twice', async () => {
    const at = await files();
    const text = `
      import { existsSync } from 'node:fs';
      export const compare = ({ prompt }) => {
        if (prompt === 'z' && existsSync(${JSON.stringify(at('busy'))})) throw new Error('no more');
        return 'tie';
      };`;
    await writeFile(at('tired.mjs'), text);
    await writeFile(at('busy'), '');
    const own = options(at, 'tired.mjs', 'tired.jsonl');
    await expect(measureWinRate(own)).rejects.toThrow(/tired\.mjs:4:\d+: compare threw: no more/);
    const before = (await readFile(own.output, 'utf8')).trim().split('\n');
    expect(before.length).toBeGreaterThan(1);
    await rm(at('busy'));
    expect(await measureWinRate(own)).toMatchObject({ ties: 3 });
    const after = (await readFile(own.output, 'utf8')).trim().split('\n');
    expect(after).toHaveLength(1 + 6);
    expect(after.slice(0, before.length)).toEqual(before);
  });

  it('ends a comparison that computes for ever at its deadline, or as soon as it is stopped', async () => {
    const at = await files();
    const forever = 'export const compare = () => { for (;;); };\n';
    await writeFile(at('slow.mjs'), `export const deadlineSeconds = 0.5;\n${forever}`);
    await expect(measureWinRate(options(at, 'slow.mjs', 'slow.jsonl'))).rejects.toThrow(
      /slow\.mjs: it has not answered within 0\.5 s/,
    );
    await writeFile(at('endless.mjs'), forever);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 1500);
    await expect(
      measureWinRate({ ...options(at, 'endless.mjs', 'endless.jsonl'), signal: controller.signal }),
    ).rejects.toThrow(/winrate: stopped\. The same command resumes|endless\.mjs: the run was stopped/);
  });

  it('tells a comparison by its signal that it is stopped', async () => {
    const at = await files();
    const [asked, told] = [at('asked'), at('told')];
    await writeFile(
      at('told.mjs'),
      `import { writeFileSync } from 'node:fs';
      export const compare = (_, signal) => new Promise(() => {
        writeFileSync(${JSON.stringify(asked)}, '');
        signal.addEventListener('abort', () => writeFileSync(${JSON.stringify(told)}, String(signal.reason)));
      });`,
    );
    const controller = new AbortController();
    const comparing = measureWinRate({
      ...options(at, 'told.mjs', 'told.jsonl'),
      signal: controller.signal,
    });
    const failing = expect(comparing).rejects.toThrow('winrate: stopped. The same command resumes from here');
    await vi.waitFor(() => expect(existsSync(asked)).toBe(true), { timeout: 15_000 });
    controller.abort();
    await failing;
    await expect(readFile(told, 'utf8')).resolves.toContain('the run was stopped');
  });

  it('leaves no file behind that would block the corrected command', async () => {
    const at = await files();
    const own = options(at, 'length.ts', 'typo.jsonl');
    await expect(measureWinRate({ ...own, b: at('nope.jsonl') })).rejects.toThrow(
      /nope\.jsonl: there is no such file/,
    );
    expect(await measureWinRate(own)).toMatchObject({ wins: 1, losses: 1 });
    // A missing file is reported even if the output file belongs to another comparison.
    await expect(measureWinRate({ ...own, b: at('nope.jsonl') })).rejects.toThrow(
      /nope\.jsonl: there is no such file/,
    );
  });

  it('does not overwrite a file that is not its own', async () => {
    const at = await files();
    for (const text of ['{"a":1}\n', '{"a":1}', 'notes']) {
      await writeFile(at('mine.json'), text);
      await expect(measureWinRate(options(at, 'length.ts', 'mine.json'))).rejects.toThrow(/mine\.json/);
      expect(await readFile(at('mine.json'), 'utf8')).toBe(text);
    }
  });

  it('refuses a file of another comparison, and prompts without a completion', async () => {
    const at = await files();
    const own = options(at, 'length.ts', 'own.jsonl');
    await measureWinRate(own);
    await expect(measureWinRate({ ...own, seed: 1 })).rejects.toThrow(
      /own\.jsonl: it holds the verdicts of another/,
    );
    // A judge with another source is another judge.
    await writeFile(at('length.ts'), 'export const reward = () => 1;\n');
    await expect(measureWinRate(own)).rejects.toThrow(/own\.jsonl: it holds the verdicts of another/);
    // So is one that says that what it reads has changed.
    const judged = options(at, 'reads.mjs', 'reads.jsonl');
    const judge = (identity: string) =>
      writeFile(
        at('reads.mjs'),
        `import { readFileSync } from 'node:fs';
        export const identity = readFileSync(${JSON.stringify(at('weights'))}, 'utf8');
        export const reward = () => 1;`,
      ).then(() => writeFile(at('weights'), identity));
    await judge('one');
    await measureWinRate(judged);
    await measureWinRate(judged);
    await judge('two');
    await expect(measureWinRate(judged)).rejects.toThrow(/reads\.jsonl: it holds the verdicts of another/);
    await writeFile(at('prompts.jsonl'), lines([{ prompt: 'other' }]));
    await expect(measureWinRate({ ...own, output: at('other.jsonl') })).rejects.toThrow(
      /a\.jsonl: it has no completion of the prompt at .*prompts\.jsonl:1/,
    );
  });

  it('gives the reward program of a judge in YAML the modules that it may import', async () => {
    const at = await files();
    await writeFile(
      at('limit.mjs'),
      "import { ConfigError } from 'pmpo';\nexport const reward = ({ completion }) => -Math.abs(completion.length - ConfigError.name.length);\n",
    );
    await writeFile(at('limit.yaml'), 'name: program\nfile: limit.mjs\n');
    const given = {
      ...options(at, 'limit.yaml', 'limit.jsonl'),
      modules: publicModules,
    };
    await expect(measureWinRate(given)).resolves.toMatchObject({ unanswered: 0 });
  });

  it.each([
    ['judge.txt', '', /neither a module .* nor settings/],
    ['judge.yaml', 'name: unheard-of', /unknown judge 'unheard-of'\. Set name to one of .*language-model/],
    ['judge.yaml', 'name: language-model\ntemplate: t.txt', /there is no file .*t\.txt/],
    ['judge.yaml', 'name: reward-model\nadress: x', /unknown key.*Did you mean 'address'/],
    ['nothing.mjs', 'export const nothing = 1;', /does not export a function `reward`/],
    ['wait.mjs', 'export const deadlineSeconds = 0; export const compare = 1;', /`deadlineSeconds` must be/],
    ['left.mjs', "export const compare = () => 'left';", /compare must return 'first', 'second' or 'tie'/],
  ])('%s with %j is an error', async (name, text, message) => {
    const at = await files();
    await writeFile(at(name), text);
    await expect(measureWinRate(options(at, name, `${Math.random()}.jsonl`))).rejects.toThrow(message);
  });
});

it('distinguishes chats that end with the same message', async () => {
  const at = await files();
  const chat = (topic: string) => [
    { role: 'user', content: topic },
    { role: 'assistant', content: 'Well.' },
    { role: 'user', content: 'Go on.' },
  ];
  const chats = [chat('violets'), chat('algebra')];
  const said = (...texts: string[]) => lines(chats.map((prompt, i) => ({ prompt, completion: texts[i] })));
  await writeFile(at('chats.jsonl'), lines(chats.map((prompt) => ({ prompt }))));
  await writeFile(at('right.jsonl'), said('of violets', 'of algebra'));
  await writeFile(at('wrong.jsonl'), said('of algebra', 'of violets'));
  await writeFile(
    at('topic.mjs'),
    'export const reward = ({ conversation, completion }) => (conversation.startsWith("user: " + completion.slice(3)) ? 1 : 0);\n',
  );
  const result = await measureWinRate({
    ...options(at, 'topic.mjs', 'chats-verdicts.jsonl'),
    a: at('right.jsonl'),
    b: at('wrong.jsonl'),
    prompts: at('chats.jsonl'),
  });
  expect(result).toMatchObject({ wins: 2, losses: 0, ties: 0 });
});

describe('a judge that is a language model', () => {
  /** A judge that finds the longer text better, and says so by `say`. */
  async function longer(say: (better: 'A' | 'B', worse: 'A' | 'B', asked: number) => string) {
    let asked = 0;
    const server = createServer(async (request, response) => {
      let body = '';
      for await (const piece of request) body += piece;
      const question = (JSON.parse(body) as { messages: { content: string }[] }).messages[0]!.content;
      const [, first, second] = /1:(.*) 2:(.*)/.exec(question)!;
      const content = first!.length > second!.length ? say('A', 'B', asked++) : say('B', 'A', asked++);
      response.end(JSON.stringify({ choices: [{ message: { role: 'assistant', content } }] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const at = await files();
    await writeFile(at('question.txt'), '1:{{first}} 2:{{second}}');
    await writeFile(
      at('longer.yaml'),
      `{name: language-model, url: "http://127.0.0.1:${port}/v1", model: m, template: question.txt}`,
    );
    const rows = (text: string) => lines(['x', 'y', 'z'].map((prompt) => ({ prompt, completion: text })));
    await writeFile(at('a.jsonl'), rows('a long answer'));
    await writeFile(at('b.jsonl'), rows('no'));
    const notices: string[] = [];
    try {
      const own = options(at, 'longer.yaml', `${Math.random()}.jsonl`);
      const result = await measureWinRate({ ...own, notice: (message) => notices.push(message) });
      return { result, notices, asked };
    } finally {
      server.close();
    }
  }

  it.each<[string, (better: string) => string]>([
    ['a word', (better) => better],
    ['a word in lower case', (better) => `**${better.toLowerCase()}**`],
    ['brackets', (better) => `[[${better}]]`],
    ['a sentence and a verdict', (better) => `Both A and B are fine. Verdict: ${better}`],
    ['thoughts and a word', (better) => `<think>A is one, B another</think>${better}`],
  ])('is read where it answers with %s', async (_, say) => {
    const { result, notices } = await longer(say);
    expect(result).toMatchObject({ wins: 3, losses: 0, ties: 0, unanswered: 0, winRate: 1 });
    expect(notices).toEqual([]);
  });

  it('is asked again after prose, which is then left out and counted', async () => {
    const { result, notices, asked } = await longer((better, worse) => `${worse} is worse than ${better}.`);
    expect(result).toMatchObject({ wins: 0, losses: 0, ties: 0, unanswered: 3 });
    // Three prompts in both orders, each asked twice.
    expect(asked).toBe(12);
    expect(notices).toHaveLength(3);
    expect(notices[0]).toMatch(/--judge: the answer '[AB] is worse than [AB]\.' has no verdict: A, B or TIE/);
  });
});
