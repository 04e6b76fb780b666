import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadTokenizer } from '../../../src/language/hugging-face-tokenizer.js';
import type { Completion } from '../../../src/language/language-model.js';
import { VllmClient } from '../../../src/language/vllm-client.js';
import { killAll, startVllm, type VllmServer } from './server.js';

const python = process.env.PMPO_PYTHON_VLLM!;
if (python === undefined) throw new Error('run this with `npm run test:interop vllm`');
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const run = promisify(execFile);

const models = ['llama', 'gemma3'] as const;
/** How long a server may take to start on a busy machine. */
const startMs = 560_000;
const testMs = 240_000;
vi.setConfig({ testTimeout: testMs });

let folder: string;
const servers: Partial<Record<(typeof models)[number], VllmServer>> = {};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-vllm-'));
  await run(python, [here('make_models.py'), folder]);
  const start = async (model: (typeof models)[number]) => {
    servers[model] = await startVllm(python, join(folder, model));
  };
  await Promise.all(models.map(start));
}, startMs);
afterAll(async () => {
  await killAll();
  await rm(folder, { recursive: true, force: true });
});

interface Sequence {
  readonly prompt: Int32Array;
  readonly completion: Int32Array;
}

/** The log-probs of the same tokens in transformers. */
async function transformersLogProbs(model: string, sequences: readonly Sequence[]): Promise<number[][]> {
  const file = join(folder, 'sequences.json');
  const plain = sequences.map(({ prompt, completion }) => ({
    prompt: [...prompt],
    completion: [...completion],
  }));
  await writeFile(file, JSON.stringify(plain));
  const { stdout } = await run(python, [here('score.py'), join(folder, model), file]);
  return JSON.parse(stdout) as number[][];
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let t = 0; t < actual.length; t++) expect(Math.abs(actual[t]! - expected[t]!)).toBeLessThan(tolerance);
}

const tokensOf = (completions: readonly Completion[]) => completions.map(({ tokens }) => [...tokens]);

describe.each(models)('a %s model on vLLM', (model) => {
  let server: VllmServer;
  let client: VllmClient;
  let prompt: Int32Array;
  beforeAll(async () => {
    server = servers[model]!;
    client = await VllmClient.connect({
      address: server.address,
      deadlineSeconds: 240,
      // Enough for a server to start.
      reconnect: { attempts: 60, maxDelaySeconds: 5 },
    });
    prompt = client.tokenizer.encodeChat([
      { role: 'user', content: 'the quick 🎉 <|im_end|><end_of_turn> fox' },
    ]);
  });
  afterAll(() => client?.close());

  it('reports its facts and the tokenizer of its folder', async () => {
    const own = await loadTokenizer(join(folder, model));
    expect(client.tokenizer.vocabularyHash).toBe(own.vocabularyHash);
    expect(client.tokenizer.hasChatTemplate).toBe(true);
    expect(client.info).toMatchObject({
      contextLength: 256,
      endTokens: [own.endToken],
      beginToken: own.beginToken,
    });
    // Formatted with its template; control tokens in the message are plain text.
    const chat = [{ role: 'user' as const, content: 'the quick 🎉 <|im_end|><end_of_turn> fox' }];
    expect([...prompt]).toEqual([...own.encodeChat(chat)]);
    expect(own.decode(prompt)).toContain('the quick 🎉 <|im_end|><end_of_turn> fox');
  });

  it('samples the same with the same seed, and differently with another', async () => {
    const sample = (seed?: number) => client.sample({ prompt, completions: 4, maxTokens: 12, seed });
    const [first, second, other] = [await sample(17), await sample(17), await sample(99_999)];
    expect(tokensOf(second)).toEqual(tokensOf(first));
    expect(second.map(({ logProbs }) => [...logProbs!])).toEqual(first.map(({ logProbs }) => [...logProbs!]));
    expect(tokensOf(other)).not.toEqual(tokensOf(first));
    expect(new Set(tokensOf(first).map(String)).size).toBeGreaterThan(1);
  });

  it('scores as it samples, and as transformers does', async () => {
    const sampled = await client.sample({
      prompt,
      completions: 3,
      maxTokens: 24,
      seed: 5,
      temperature: 0.7,
      topP: 0.9,
    });
    const sequences = sampled.map(({ tokens }) => ({ prompt, completion: tokens }));
    const reference = await transformersLogProbs(model, sequences);
    for (const [i, { tokens, logProbs }] of sampled.entries()) {
      const scored = await client.score(prompt, tokens);
      expectClose(logProbs!, scored, 1e-3);
      expectClose(scored, reference[i]!, 1e-3);
    }
  });

  it('streams the same completions as it samples', async () => {
    const request = { prompt, completions: 2, maxTokens: 10, seed: 3 };
    const whole = await client.sample(request);
    const tokens: number[][] = [[], []];
    const logProbs: number[][] = [[], []];
    const ends: string[] = [];
    let pieces = 0;
    for await (const piece of client.stream(request)) {
      tokens[piece.index]!.push(...piece.tokens);
      logProbs[piece.index]!.push(...piece.logProbs!);
      if (piece.finishReason !== undefined) ends[piece.index] = piece.finishReason;
      pieces++;
    }
    expect(pieces).toBeGreaterThan(4);
    expect(tokens).toEqual(tokensOf(whole));
    for (const [i, completion] of whole.entries()) expectClose(logProbs[i]!, completion.logProbs!, 1e-3);
    expect(ends).toEqual(whole.map(({ finishReason }) => finishReason));
  });

  it('takes the most likely tokens at temperature 0', async () => {
    const sample = () => client.sample({ prompt, completions: 1, maxTokens: 8, temperature: 0 });
    const [first] = await sample();
    expect(tokensOf(await sample())).toEqual([[...first!.tokens]]);
    const choices = await client.sample({ prompt, completions: 8, maxTokens: 1, topK: 1 });
    expect(new Set(tokensOf(choices).map(String))).toEqual(new Set([String(first!.tokens[0])]));
  });

  it('ends at stop texts, at the end token, and at the length', async () => {
    // The weights are random: search for a completion with a one-byte character that is a token by itself.
    const oneByte = /[!-~]/;
    const requestOf = (seed: number) => ({ prompt, completions: 1, maxTokens: 200, seed, ignoreEnd: true });
    let request = requestOf(11);
    let [free] = await client.sample(request);
    for (let seed = 12; seed < 60 && !oneByte.test(free!.text.slice(8)); seed++) {
      request = requestOf(seed);
      [free] = await client.sample(request);
    }
    expect(free!.finishReason).toBe('length');
    const stop = oneByte.exec(free!.text.slice(8))![0];
    const [stopped] = await client.sample({ ...request, stop: [stop] });
    expect(stopped!.finishReason).toBe('stop');
    expect(stopped!.text).toBe(free!.text.slice(0, free!.text.indexOf(stop)));
    expect(client.tokenizer.decode(stopped!.tokens)).toContain(stop);
    const end = free!.tokens[6]!;
    const [ended] = await client.sample({ ...request, stopTokens: [end] });
    expect(ended!.finishReason).toBe('stop');
    expect(ended!.tokens.at(-1)).toBe(end);
    // The context ends before maxTokens.
    const long = Int32Array.from({ length: 250 }, (_, t) => prompt[t % prompt.length]!);
    const [cut] = await client.sample({ ...request, prompt: long });
    expect(cut!.tokens.length).toBeLessThanOrEqual(6);
    expect(cut!.finishReason).toBe('length');
  });

  it('does not get requests that it cannot fulfill', async () => {
    const sample = (tokens: Int32Array) => client.sample({ prompt: tokens, completions: 1, maxTokens: 1 });
    await expect(sample(new Int32Array(256).fill(5))).rejects.toThrow(/leaves no room in a context of 256/);
    await expect(sample(Int32Array.of(5, 100_000))).rejects.toThrow(/token 1 of the prompt is 100000/);
    // The longest sequence that can be scored.
    const rest = new Int32Array(255 - prompt.length).fill(7);
    expect(await client.score(prompt, rest)).toHaveLength(rest.length);
  });

  it('aborts a request that is stopped', async () => {
    const stop = new AbortController();
    const request = { prompt, completions: 8, maxTokens: 200, ignoreEnd: true, signal: stop.signal };
    const before = server.log().length;
    const reading = (async () => {
      for await (const _piece of client.stream(request)) stop.abort();
    })();
    await expect(reading).rejects.toThrow(/Generate was stopped/);
    // The engine aborts it because the call was cancelled or because of Abort, whichever comes first. No other request is running.
    await expect
      .poll(() => server.log().slice(before), { timeout: 60_000 })
      .toMatch(/Request pmpo-[0-9a-f-]{36}\S* aborted|Aborted request\(s\) \S*pmpo-/);
    // Other requests still succeed.
    expect(await client.sample({ prompt, completions: 1, maxTokens: 1 })).toHaveLength(1);
  });

  it.runIf(model === 'llama')(
    'is waited for after a kill, and gets the request again with the same seed',
    async () => {
      const request = { prompt, completions: 4, maxTokens: 100, ignoreEnd: true, seed: 8 };
      const whole = await client.sample(request);
      const sampling = client.sample(request);
      let pieces = 0;
      const read = async () => {
        // Long enough to be still running when the server is killed.
        for await (const _piece of client.stream({ ...request, seed: 9, completions: 32, maxTokens: 200 }))
          if (pieces++ === 0) await server.kill();
      };
      await expect(read()).rejects.toThrow(/the connection was lost during Generate/);
      expect(pieces).toBeGreaterThan(0);
      server = await startVllm(python, join(folder, model), Number(server.address.split(':')[1]));
      servers[model] = server;
      expect(tokensOf(await sampling)).toEqual(tokensOf(whole));
    },
    startMs + testMs,
  );
});

describe('the reference tokens of the tokenizer tests', () => {
  it('are still those of transformers', async () => {
    const script = fileURLToPath(new URL('../../references/tokenizers_transformers.py', import.meta.url));
    const output = join(folder, 'now.json');
    await run(python, ['-B', script, output]);
    const read = async (file: string) => JSON.parse(await readFile(file, 'utf8')) as unknown;
    expect(await read(output)).toEqual(await read(script.replace(/\.py$/, '.json')));
  });
});
