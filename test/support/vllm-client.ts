import { afterEach } from 'vitest';
import type { SampleRequest } from '../../src/language/language-model.js';
import { VllmClient, type VllmClientOptions } from '../../src/language/vllm-client.js';
import { type ScriptedVllm, vllmServer } from './vllm-server.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Runs `cleanup` at the end of the test. */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

const quick = { attempts: 5, initialDelaySeconds: 0.01, maxDelaySeconds: 0.05 };

/** Starts a server that stops at the end of the test. */
export async function serve(script?: ScriptedVllm) {
  const server = await vllmServer(script);
  atEnd(() => server.close());
  return server;
}

export async function connect(options: VllmClientOptions) {
  const client = await VllmClient.connect({ deadlineSeconds: 10, reconnect: quick, ...options });
  atEnd(() => client.close());
  return client;
}

export async function connected(script?: ScriptedVllm, options: Partial<VllmClientOptions> = {}) {
  const server = await serve(script);
  return { server, client: await connect({ address: server.address, ...options }) };
}

export const prompt = Int32Array.of(2, 60, 61);

export const sampleRequest = (change: Partial<SampleRequest> = {}): SampleRequest => ({
  prompt,
  completions: 2,
  maxTokens: 8,
  ...change,
});
