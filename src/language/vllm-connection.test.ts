import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { authority, signed, writeFiles } from '../../test/environments/certificates.js';
import {
  atEnd,
  connect,
  connected,
  sampleRequest as request,
  serve,
} from '../../test/support/vllm-client.js';
import {
  answer,
  completion,
  fail,
  fixtureInfo,
  fixtureTokenizer,
  type ScriptedVllm,
} from '../../test/support/vllm-server.js';
import { ConnectionLostError } from '../core/errors.js';

describe('a call', () => {
  it('that is stopped is stopped on the server, too', async () => {
    const stop = new AbortController();
    const { server, client } = await connected({ generate: () => stop.abort() });
    const sampling = client.sample(request({ signal: stop.signal }));
    await expect(sampling).rejects.toThrow(/Generate was stopped/);
    await expect.poll(() => server.cancelled()).toBe(1);
    await expect.poll(() => server.aborted).toEqual([server.requests[0]!.requestId]);
  });

  it('has a deadline, after which it is not repeated', async () => {
    const { server, client } = await connected({ generate: () => {} }, { deadlineSeconds: 2 });
    await expect(client.sample(request())).rejects.toThrow(
      /no answer to Generate within 2 s\. .*language\.sampler\.deadlineSeconds/,
    );
    expect(server.requests).toHaveLength(1);
  });

  it('ends with the client', async () => {
    const { server, client } = await connected({ generate: () => {} });
    const sampling = client.sample(request());
    const ended = expect(sampling).rejects.toThrow(/Generate was stopped/);
    await expect.poll(() => server.requests.length).toBe(1);
    await client.close();
    await ended;
  });

  it('is repeated if the server aborted one of its completions', async () => {
    let calls = 0;
    const { client } = await connected({
      generate: (call) => {
        const cut = completion(1, {
          finishReason: 'abort',
          outputIds: [7],
          outputLogprobs: { tokenLogprobs: [-1], tokenIds: [7] },
        });
        answer(completion(0), calls++ < 2 ? cut : completion(1))(call);
      },
    });
    const completions = await client.sample(request());
    expect(completions.map(({ tokens }) => tokens.length)).toEqual([3, 3]);
    expect(calls).toBe(3);
  });

  it('fails if the server aborts its completions again and again', async () => {
    const { client } = await connected(
      { generate: answer(completion(0), completion(1, { finishReason: 'abort' })) },
      { reconnect: { attempts: 2, initialDelaySeconds: 0.01, maxDelaySeconds: 0.01 } },
    );
    await expect(client.sample(request())).rejects.toThrow(
      /the server aborted completion 1 before its end \(2 more attempts failed too\)/,
    );
  });

  it('that was lost is repeated with the same seed', async () => {
    let calls = 0;
    const { server, client } = await connected({
      generate: (call) => {
        if (calls++ < 2) fail(grpc.status.UNAVAILABLE)(call);
        else answer(completion(0), completion(1))(call);
      },
    });
    expect(await client.sample(request({ seed: 5 }))).toHaveLength(2);
    expect(server.requests.map(({ samplingParams }) => samplingParams?.seed)).toEqual([5, 5, 5]);
    // The server may not have noticed that an earlier attempt is lost.
    expect(new Set(server.requests.map(({ requestId }) => requestId)).size).toBe(3);
  });

  it('that was lost after half of its answer is repeated as a whole', async () => {
    let calls = 0;
    const { client } = await connected({
      generate: (call) => {
        if (calls++ > 0) return answer(completion(0), completion(1))(call);
        call.write({ complete: completion(0) });
        setTimeout(() => fail(grpc.status.UNAVAILABLE)(call), 50);
      },
    });
    expect(await client.sample(request())).toHaveLength(2);
    expect(calls).toBe(2);
  });

  it('waits while a server is overloaded', async () => {
    let calls = 0;
    const { client } = await connected({
      generate: (call) => {
        if (calls++ === 0) fail(grpc.status.RESOURCE_EXHAUSTED, 'the queue is full')(call);
        else answer(completion(0), completion(1))(call);
      },
    });
    expect(await client.sample(request())).toHaveLength(2);
  });

  it('fails if the server does not come back', async () => {
    const { server, client } = await connected();
    server.close();
    const sampling = client.sample(request());
    await expect(sampling).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(sampling).rejects.toThrow(/5 more attempts failed too/);
  });

  it('continues if the server comes back', async () => {
    const { server, client } = await connected(undefined, {
      reconnect: { attempts: 50, initialDelaySeconds: 0.05, maxDelaySeconds: 0.1 },
    });
    server.close();
    const sampling = client.sample(request());
    await serve({ port: server.port });
    expect(await sampling).toHaveLength(2);
  });

  it('fails if another model is served at the same address', async () => {
    const { server, client } = await connected();
    server.close();
    await serve({ port: server.port, info: { ...fixtureInfo, vocabSize: 420 } });
    await expect(client.sample(request())).rejects.toThrow(
      /the server has another model \(tiny: 420 tokens.*Serve the same model/,
    );
  });
});

describe('several servers', () => {
  it('share the calls, each up to its limit', async () => {
    const open: (() => void)[] = [];
    const generate: ScriptedVllm['generate'] = (call) => {
      open.push(() => answer(completion(0), completion(1))(call));
    };
    const servers = [await serve({ generate }), await serve({ generate })];
    const client = await connect({ address: servers.map(({ address }) => address), inFlight: 2 });
    const all = Promise.all(Array.from({ length: 10 }, () => client.sample(request())));
    const counts = () => servers.map(({ requests }) => requests.length);
    for (let done = 0; done < 10; done++) {
      await expect.poll(() => open.length).toBe(Math.min(4, 10 - done));
      const [a, b] = counts();
      expect(a! + b!).toBe(done + open.length);
      open.shift()!();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await all).toHaveLength(10);
    expect(Math.min(...counts())).toBeGreaterThan(2);
  });

  it('take over the calls of a lost one', async () => {
    const [first, second] = [await serve(), await serve()];
    const client = await connect({ address: [first!.address, second!.address] });
    first!.close();
    for (let i = 0; i < 4; i++) expect(await client.sample(request())).toHaveLength(2);
    expect(second!.requests).toHaveLength(4);
  });

  it('must serve the same model', async () => {
    const servers = [await serve(), await serve({ info: { ...fixtureInfo, maxContextLength: 64 } })];
    const address = servers.map((server) => server.address);
    await expect(connect({ address })).rejects.toThrow(/has another model.*a context of (32|64)/);
  });
});

describe('connecting fails for', () => {
  const wrong: Record<string, [ScriptedVllm, RegExp]> = {
    'a model for embeddings': [
      { info: { ...fixtureInfo, isGeneration: false } },
      /tiny does not complete texts: the server serves it for embeddings/,
    ],
    'a model without a description': [
      { info: { isGeneration: true, modelPath: '/m' } },
      /reports 0 tokens and a context of 0 for \/m/,
    ],
    'a model with fewer tokens than the tokenizer': [
      { info: { ...fixtureInfo, vocabSize: 300 } },
      /the tokenizer has 401 tokens, but the model tiny has 300\. Give the folder/,
    ],
    'a model with far more tokens': [
      { info: { ...fixtureInfo, vocabSize: 32_000 } },
      /but the model tiny has 32000/,
    ],
    'a tokenizer with another hash': [{ sha256: 'c0ffee' }, /the tokenizer was damaged on the way/],
    'a server without a tokenizer': [
      { noTokenizer: grpc.status.NOT_FOUND },
      /the tokenizer cannot be fetched: .*NOT_FOUND.*language\.sampler\.tokenizer/,
    ],
    'a server that requires a token': [
      { token: 'secret' },
      /requires authentication.*language\.sampler\.token/,
    ],
  };
  it.each(Object.entries(wrong))('%s', async (_what, [script, message]) => {
    const { address } = await serve(script);
    await expect(connect({ address })).rejects.toThrow(message);
  });

  it('an address without a server', async () => {
    const server = await serve();
    server.close();
    await expect(connect({ address: server.address })).rejects.toThrow(
      /no server answers there.*correct language\.sampler\.address/,
    );
  });

  it('a server of another protocol', async () => {
    const server = new grpc.Server();
    const port = await new Promise<number>((resolve) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (_error, bound) =>
        resolve(bound),
      );
    });
    atEnd(() => server.forceShutdown());
    await expect(connect({ address: `127.0.0.1:${port}` })).rejects.toThrow(
      /does not speak vLLM's gRPC engine.*Give the address of a vLLM server that was started with --grpc/,
    );
  });
});

describe('a connection', () => {
  it('may use mutual TLS, a token, and a tokenizer from a folder', async () => {
    const ca = await authority('the authority of this test');
    const [own, its] = [await signed('client.example', { by: ca }), await signed('127.0.0.1', { by: ca })];
    const files = await writeFiles({
      ca: ca.certificate,
      certificate: own.certificate,
      key: own.key,
      token: 'a-token\n',
    });
    atEnd(() => files.remove());
    const folder = await mkdtemp(join(tmpdir(), 'pmpo-vllm-client-'));
    atEnd(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'tokenizer.json'), fixtureTokenizer.tokenizer);
    const pair = { cert_chain: Buffer.from(its.certificate), private_key: Buffer.from(its.key) };
    const { ca: caFile, certificate, key, token } = files.paths;
    const { client } = await connected(
      {
        credentials: grpc.ServerCredentials.createSsl(Buffer.from(ca.certificate), [pair], true),
        token: 'a-token',
        noTokenizer: grpc.status.NOT_FOUND,
      },
      { tls: { ca: caFile, certificate, key }, token: { file: token }, tokenizer: folder },
    );
    expect(await client.sample(request())).toHaveLength(2);
  });

  it('uses a renewed token', async () => {
    const files = await writeFiles({ token: 'old' });
    atEnd(() => files.remove());
    const script = { token: 'old' };
    const { client } = await connected(script, { token: { file: files.paths.token } });
    await client.sample(request());
    script.token = 'new';
    await writeFile(files.paths.token, 'new');
    expect(await client.sample(request())).toHaveLength(2);
  });
});
