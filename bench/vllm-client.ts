import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from '../src/core/statistics.js';
import { VllmClient } from '../src/language/vllm-client.js';
import { startVllm } from '../test/interop/vllm/server.js';
import { load, machine } from './support/machine.js';
import { ratioOf } from './support/peers.js';

/**
 * `npm run bench vllm-client [ROUNDS]`: sampled tokens per second. Compares our client with vLLM's generated Python stubs, in
 * turn, for the same requests to the same vLLM server with a tiny model, with whole and with streamed responses; prints medians
 * and their ratio.
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const rounds = Number(process.argv[2] ?? 5);
const requests = 16;
const completions = 4;
const maxTokens = 64;
const run = promisify(execFile);

const { ensureVenv } = (await import(new URL('../scripts/venv.mjs', import.meta.url).href)) as {
  ensureVenv(name: string): string;
};
const python = ensureVenv('vllm');
const folder = await mkdtemp(join(tmpdir(), 'pmpo-bench-vllm-'));
await run(python, [join(root, 'test/interop/vllm/make_models.py'), folder]);
const server = await startVllm(python, join(folder, 'llama'));

const client = await VllmClient.connect({ address: server.address });
const prompt = client.tokenizer.encode('the quick brown fox jumps over the lazy dog');

async function sample(seed: number, streamed: boolean): Promise<number> {
  const request = { prompt, completions, maxTokens, ignoreEnd: true, seed };
  let tokens = 0;
  if (streamed) for await (const piece of client.stream(request)) tokens += piece.tokens.length;
  else for (const completion of await client.sample(request)) tokens += completion.tokens.length;
  return tokens;
}

async function ours(streamed: boolean): Promise<number> {
  await sample(0, streamed);
  const started = performance.now();
  const counts = await Promise.all(
    Array.from({ length: requests }, (_, i) => sample(1000 * (i + 1), streamed)),
  );
  const seconds = (performance.now() - started) / 1000;
  return counts.reduce((sum, count) => sum + count, 0) / seconds;
}

async function theirs(streamed: boolean): Promise<number> {
  const numbers = [requests, completions, maxTokens, streamed ? 1 : 0, ...prompt].map(String);
  const { stdout } = await run(python, [
    join(root, 'bench/vllm_python_client.py'),
    server.address,
    ...numbers,
  ]);
  return Number(stdout);
}

const loadBefore = load();
const results: Record<string, unknown> = {};
try {
  for (const [name, streamed] of [
    ['whole', false],
    ['streamed', true],
  ] as const) {
    const [pmpo, stubs]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      pmpo.push(await ours(streamed));
      stubs.push(await theirs(streamed));
      console.error(
        `${name}, round ${round + 1}: ${pmpo[round].toFixed(0)} against ${stubs[round].toFixed(0)} tokens/s`,
      );
    }
    results[name] = {
      tokensPerSecond: { pmpo: median(pmpo), pythonStubs: median(stubs) },
      ratio: ratioOf(pmpo, stubs),
    };
  }
} finally {
  await client.close();
  await server.kill();
  await rm(folder, { recursive: true, force: true });
}
console.log(
  JSON.stringify({
    benchmark: 'vllm-client',
    machine: machine(loadBefore),
    rounds,
    requests,
    completions,
    maxTokens,
    ...results,
  }),
);
