import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyConfig, tinyModel } from '../../../test/support/tiny-model.js';
import { randomKey } from '../../core/random-keys.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import { loadService } from '../../grpc/protos.js';
import { vllmService } from '../services.js';
import { VllmClient } from '../vllm-client.js';
import { createEmbeddedModel, type EmbeddedModel } from './embedded-model.js';
import type { GenerateAnswer } from './generate-responses.js';

let engine: Engine;
let model: EmbeddedModel;
let client: grpc.Client;
beforeAll(async () => {
  engine = await createEngine('onnx');
  model = await createEmbeddedModel({
    engine,
    base: tinyModel(1),
    name: 'tiny',
    key: randomKey(7),
    connect: (address) => VllmClient.connect({ address }),
    slots: 4,
  });
  client = new grpc.Client(model.address, grpc.credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await model.close();
  await engine.dispose();
});

const deadline = () => Date.now() + 30_000;

function unary(service: grpc.ServiceDefinition, method: string, request: object): Promise<unknown> {
  const { path, requestSerialize, responseDeserialize } = service[method]!;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      { deadline: deadline() },
      (error, answer) => (error === null ? resolve(answer) : reject(error)),
    );
  });
}

function call(method: string, request: object): grpc.ClientReadableStream<unknown> {
  const { path, requestSerialize, responseDeserialize } = vllmService()[method]!;
  return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, {
    deadline: deadline(),
  });
}

async function generate(samplingParams: object, request: object = {}): Promise<GenerateAnswer[]> {
  const answers: GenerateAnswer[] = [];
  const stream = call('Generate', {
    requestId: 'test',
    tokenized: { inputIds: [1, 5, 6, 7] },
    samplingParams,
    ...request,
  });
  for await (const answer of stream) answers.push(answer as GenerateAnswer);
  return answers;
}

const idsOf = (answers: readonly GenerateAnswer[]) =>
  answers
    .filter(({ complete }) => complete !== undefined)
    .sort((a, b) => (a.complete!.index ?? 0) - (b.complete!.index ?? 0))
    .map(({ complete }) => [...complete!.outputIds]);

describe('completions', () => {
  const settings = { n: 3, maxTokens: 12, seed: 5, logprobs: 0, ignoreEos: true };

  it('are one message each, with the log-probs of their tokens', async () => {
    const answers = await generate(settings);
    expect(answers.map(({ complete }) => complete!.index ?? 0).sort()).toEqual([0, 1, 2]);
    for (const { complete } of answers) {
      expect(complete!.outputIds).toHaveLength(12);
      expect(complete!.finishReason).toBe('length');
      expect([complete!.promptTokens, complete!.completionTokens]).toEqual([4, 12]);
      expect(complete!.outputLogprobs!.tokenIds).toEqual(complete!.outputIds);
      const ids = Int32Array.from(complete!.outputIds);
      const scores = await model.sampler.score(Int32Array.of(1, 5, 6, 7), ids);
      const reported = complete!.outputLogprobs!.tokenLogprobs;
      for (const [t, score] of scores.entries()) expect(reported[t]).toBeCloseTo(score, 4);
    }
  });

  it('are a function of seed and index, whatever else is sampled at the same time', async () => {
    const alone = idsOf(await generate(settings));
    expect(new Set(alone.map(String)).size).toBe(3);
    const others = [1, 2, 3, 4, 5].map((i) =>
      generate(
        { n: 2, maxTokens: 3 + 4 * i, ignoreEos: true },
        { tokenized: { inputIds: Array(i * 5).fill(9) } },
      ),
    );
    const [beside, single] = await Promise.all([
      generate(settings),
      generate({ ...settings, n: 1 }),
      ...others,
    ]);
    expect(idsOf(beside!)).toEqual(alone);
    expect(idsOf(single!)).toEqual(alone.slice(0, 1));
    expect(idsOf(await generate({ ...settings, seed: 6 }))).not.toEqual(alone);
  });

  it('without a seed differ from call to call', async () => {
    const unseeded = { ...settings, seed: undefined };
    expect(idsOf(await generate(unseeded))).not.toEqual(idsOf(await generate(unseeded)));
  });

  it('are streamed in pieces; the last message repeats the last piece', async () => {
    const whole = idsOf(await generate(settings));
    const answers = await generate(settings, { stream: true });
    const pieces: number[][] = [[], [], []];
    for (const { chunk } of answers)
      if (chunk !== undefined) pieces[chunk.index ?? 0]!.push(...chunk.tokenIds);
    expect(pieces).toEqual(whole);
    expect(idsOf(answers)).toEqual(whole.map((ids) => ids.slice(-1)));
  });

  it('end at stop tokens, stop texts and the context', async () => {
    const [[first]] = [idsOf(await generate({ ...settings, n: 1 }))];
    const stopToken = first![4]!;
    const at = first!.indexOf(stopToken);
    const [byToken] = await generate({ ...settings, n: 1, stopTokenIds: [stopToken] });
    expect(byToken!.complete).toMatchObject({
      outputIds: first!.slice(0, at + 1),
      finishReason: 'stop',
      matchedTokenId: stopToken,
    });
    const { tokenizer } = model.sampler;
    const text = tokenizer.decode(first!.slice(0, 6));
    const stop = [...text].slice(-2).join('');
    const [byText] = await generate({ ...settings, n: 1, stop: [stop] });
    expect(byText!.complete).toMatchObject({ finishReason: 'stop', matchedStopStr: stop });
    expect(tokenizer.decode([...byText!.complete!.outputIds])).toContain(stop);
    const [full] = await generate({ ...settings, n: 1, maxTokens: 1000 });
    expect(full!.complete).toMatchObject({ finishReason: 'length', completionTokens: 44 });
  });

  it('do not end before minTokens', async () => {
    const everything = Array.from({ length: 200 }, (_, i) => i + 3);
    const [early] = await generate({ ...settings, n: 1, stopTokenIds: everything });
    expect(early!.complete!.outputIds.length).toBeLessThan(5);
    const [late] = await generate({ ...settings, n: 1, stopTokenIds: everything, minTokens: 8 });
    expect(late!.complete!.outputIds.length).toBeGreaterThan(8);
    expect(late!.complete!.outputIds.slice(0, 8).some((id) => everything.includes(id))).toBe(false);
  });

  it('do not repeat tokens under a heavy penalty, and have the log-probs of the model without it', async () => {
    const plain = { temperature: 0, maxTokens: 12, ignoreEos: true, logprobs: 0 };
    const [free] = idsOf(await generate(plain));
    expect(new Set(free).size).toBeLessThan(12);
    const [answer] = await generate({ ...plain, repetitionPenalty: 1e6 });
    const { outputIds, outputLogprobs } = answer!.complete!;
    expect(new Set([1, 5, 6, 7, ...outputIds]).size).toBe(16);
    const scores = await model.sampler.score(Int32Array.of(1, 5, 6, 7), Int32Array.from(outputIds));
    for (const [t, score] of scores.entries()) expect(outputLogprobs!.tokenLogprobs[t]).toBeCloseTo(score, 4);
  });

  it('are the most likely ones at temperature 0 and with topK 1', async () => {
    const greedy = idsOf(await generate({ temperature: 0, maxTokens: 10, ignoreEos: true }));
    expect(idsOf(await generate({ topK: 1, maxTokens: 10, ignoreEos: true, seed: 3 }))).toEqual(greedy);
    expect(idsOf(await generate({ topP: 1e-6, maxTokens: 10, ignoreEos: true, seed: 4 }))).toEqual(greedy);
  });

  it('report the most likely tokens with each token, the sampled one first', async () => {
    const [answer] = await generate({ ...settings, n: 1, logprobs: 4 });
    const { topLogprobs, tokenIds, tokenLogprobs } = answer!.complete!.outputLogprobs!;
    for (const [t, { tokenIds: ids, values }] of topLogprobs.entries()) {
      expect(ids).toHaveLength(4);
      expect([ids[0], values[0]]).toEqual([tokenIds[t], tokenLogprobs[t]]);
      expect(new Set(ids).size).toBe(4);
    }
  });

  it('of a text are the same as of its tokens', async () => {
    const ids = [...model.sampler.tokenizer.encode('The soup')];
    const byText = await generate(settings, { tokenized: undefined, text: 'The soup' });
    expect(idsOf(byText)).toEqual(idsOf(await generate(settings, { tokenized: { inputIds: ids } })));
  });
});

describe("a prompt's log-probs", () => {
  it('are those of the model; the first token has none', async () => {
    const ids = [1, 9, 30, 31, 7];
    const [answer] = await generate(
      { maxTokens: 1, promptLogprobs: 2, temperature: 0 },
      { tokenized: { inputIds: ids } },
    );
    const { tokenLogprobs, tokenIds, topLogprobs } = answer!.complete!.inputLogprobs!;
    expect(tokenIds).toEqual(ids);
    expect(tokenLogprobs[0]!.value).toBeUndefined();
    const [score] = await model.score(
      [{ prompt: Int32Array.of(1), completion: Int32Array.from(ids.slice(1)) }],
      { reference: true },
    );
    for (const [t, value] of score!.referenceLogProb!.entries()) {
      expect(tokenLogprobs[t + 1]!.value).toBeCloseTo(value, 4);
      expect(topLogprobs[t + 1]!.tokenIds).toHaveLength(2);
    }
  });
});

describe('requests that cannot be served are refused with a message that helps', () => {
  it.each([
    [{}, { tokenized: { inputIds: [] } }, /the prompt is empty/],
    [{}, { tokenized: undefined }, /the request has no input/],
    [
      {},
      { tokenized: { inputIds: Array(48).fill(1) } },
      /48 tokens, which leaves no room in the context length of 48/,
    ],
    [{}, { tokenized: { inputIds: [1, 270] } }, /token 1 of the prompt is 270. Tokens are 0 to 269/],
    [{ logprobs: 21 }, {}, /logprobs is 21. Give 0 to 20/],
    [{ promptLogprobs: -1 }, {}, /prompt_logprobs is -1/],
    [{ temperature: 0, n: 2 }, {}, /all completions would be the same/],
    [{ n: 20_000 }, {}, /n is 20000. Give at most 16384/],
    [{ maxTokens: 0 }, {}, /max_tokens is 0/],
    [{ maxTokens: 3, minTokens: 4 }, {}, /min_tokens is 4, which is more than max_tokens, 3/],
    [{ temperature: -1 }, {}, /temperature is -1/],
    [{ topP: 1.5 }, {}, /top_p is 1.5/],
    [{ frequencyPenalty: 3 }, {}, /frequency_penalty is 3. Give a number from -2 to 2/],
    [{ presencePenalty: Number.NaN }, {}, /presence_penalty is NaN/],
    [{ repetitionPenalty: -1 }, {}, /repetition_penalty is -1. Give a number above 0/],
  ])('%o %o', async (sampling, request, message) => {
    await expect(generate(sampling, request)).rejects.toMatchObject({
      code: grpc.status.INVALID_ARGUMENT,
      details: expect.stringMatching(message) as string,
    });
  });
});

describe('giving up a request', () => {
  const endless = { n: 4, maxTokens: 44, ignoreEos: true };
  const active = async () =>
    ((await unary(vllmService(), 'GetServerInfo', {})) as { activeRequests?: number }).activeRequests ?? 0;

  it('by Abort ends its open completions and frees their slots', async () => {
    const running = generate(endless, { requestId: 'doomed', stream: true });
    const waiting = generate(endless, { requestId: 'doomed' });
    while ((await active()) < 2);
    await unary(vllmService(), 'Abort', { requestIds: ['doomed', 'unknown'] });
    for (const answers of await Promise.all([running, waiting])) {
      const reasons = answers.flatMap(({ complete }) => complete?.finishReason ?? []);
      expect(reasons).toEqual(['abort', 'abort', 'abort', 'abort']);
    }
    expect(await active()).toBe(0);
  });

  it('by canceling the call is noticed by the server', async () => {
    const stream = call('Generate', {
      requestId: 'cancelled',
      tokenized: { inputIds: [1, 2] },
      samplingParams: endless,
    });
    const ended = new Promise<grpc.ServiceError>((resolve) => stream.once('error', resolve));
    stream.resume();
    while ((await active()) === 0);
    stream.cancel();
    expect((await ended).code).toBe(grpc.status.CANCELLED);
    while ((await active()) > 0);
    expect(idsOf(await generate({ n: 4, maxTokens: 2, ignoreEos: true }))).toHaveLength(4);
  });
});

describe('the server reports', () => {
  it('its model and its state', async () => {
    expect(await unary(vllmService(), 'GetModelInfo', {})).toMatchObject({
      servedModelName: 'tiny',
      isGeneration: true,
      maxContextLength: tinyConfig.contextLength,
      vocabSize: tinyConfig.vocabularySize,
      eosTokenIds: [2],
      bosTokenId: 1,
    });
    expect(await unary(vllmService(), 'GetServerInfo', {})).toMatchObject({ serverType: 'pmpo' });
    expect(await unary(vllmService(), 'HealthCheck', {})).toMatchObject({ healthy: true });
  });

  it('its health, by the standard protocol', async () => {
    const health = loadService('grpc/health/v1/health.proto', 'grpc.health.v1.Health');
    expect(await unary(health, 'Check', {})).toEqual({ status: 'SERVING' });
    await expect(unary(health, 'Check', { service: 'other' })).rejects.toMatchObject({
      code: grpc.status.NOT_FOUND,
    });
  });

  it('its tokenizer, which the client uses', () => {
    const { tokenizer } = model.sampler;
    expect(tokenizer.vocabularyHash).toBe(model.info.vocabularyHash);
    expect(tokenizer.decode(tokenizer.encode('The soup was naïve 🥣'))).toBe('The soup was naïve 🥣');
  });
});
