import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  OpenInferenceClient,
  type OpenInferenceOptions,
} from '../../../src/language/open-inference-client.js';

const python = process.env.PMPO_PYTHON_OPEN_INFERENCE!;
if (python === undefined) throw new Error('run this with `npm run test:interop open_inference`');
const script = fileURLToPath(new URL('runtimes.py', import.meta.url));

const texts = ['a kind answer', 'NEVER ever', '', 'weiß 🎉 日本語', 'x'.repeat(1000), 'yes'];

let folder: string;
let expected: number[];
let ports: number[];
let stop: () => Promise<void>;

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const found = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return found;
}

/** Starts MLServer with the models of the folder. Resolves when it is ready, with a function that kills it. */
async function start(): Promise<() => Promise<void>> {
  const child = spawn(join(dirname(python), 'mlserver'), ['start', folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, PATH: `${dirname(python)}:${process.env.PATH}` },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
  }
  const ended = once(child, 'exit');
  const kill = async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL');
    await ended;
  };
  const deadline = Date.now() + 100_000;
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${ports[0]}/v2/health/ready`).catch(() => undefined);
    if (ready?.ok) return kill;
    if (child.exitCode !== null || Date.now() > deadline) {
      await kill();
      throw new Error(`MLServer did not start:\n${text.slice(-4000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-open-inference-'));
  expected = JSON.parse(
    execFileSync(python, [script, folder], { input: JSON.stringify(texts), encoding: 'utf8' }),
  ) as number[];
  ports = await freePorts(3);
  const [http_port, grpc_port, metrics_port] = ports;
  const settings = {
    host: '127.0.0.1',
    http_port,
    grpc_port,
    metrics_port,
    parallel_workers: 0,
    debug: false,
  };
  await writeFile(join(folder, 'settings.json'), JSON.stringify(settings));
  stop = await start();
}, 150_000);
afterAll(async () => {
  await stop?.();
  await rm(folder, { recursive: true, force: true });
});

async function connect(
  model: string,
  options: Partial<OpenInferenceOptions> = {},
): Promise<OpenInferenceClient> {
  return OpenInferenceClient.connect({
    address: `127.0.0.1:${ports[1]}`,
    model,
    deadlineSeconds: 30,
    ...options,
  });
}

describe('MLServer', () => {
  it('scores texts as its model does in Python', async () => {
    const client = await connect('text-reward', { batchSize: 4 });
    expect(client.takes).toBe('texts');
    const scores = await client.infer(texts);
    expect(scores).toHaveLength(texts.length);
    for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(expected[i]!, 5);
    await client.close();
  });

  it('scores tokens with an attention mask', async () => {
    const samples = [Int32Array.of(1, 2, 3), Int32Array.of(40), Int32Array.of(5, 7)];
    const client = await connect('token-reward', { column: 0 });
    expect(client.takes).toBe('tokens');
    expect([...(await client.infer(samples))]).toEqual([2, 40, 6]);
    await client.close();
    const counting = await connect('token-reward', { column: 1, padToken: 9 });
    expect([...(await counting.infer(samples))]).toEqual([3, 1, 2]);
    await counting.close();
  });

  it('gives an error for an unknown model', async () => {
    await expect(connect('no-such-model')).rejects.toThrow(/there is no model 'no-such-model'/);
  });

  it('gives an error for an output of the wrong shape', async () => {
    const client = await connect('wrong-shape');
    await expect(client.infer(['a', 'b'])).rejects.toThrow(
      /the output 'score' has the shape \[1, 7\] for 2 samples\. It must have one number for each/,
    );
    await client.close();
  });

  it('requires `column` if an output has several numbers per sample', async () => {
    const client = await connect('token-reward');
    await expect(client.infer([Int32Array.of(1)])).rejects.toThrow(/has 2 numbers for each sample/);
    await client.close();
  });

  it('reconnects after a restart of the server', async () => {
    const client = await connect('text-reward');
    await client.infer(['yes']);
    await stop();
    const scoring = client.infer(['a kind answer']);
    stop = await start();
    expect((await scoring)[0]).toBeCloseTo(expected[0]!, 5);
    await client.close();
  }, 120_000);
});
