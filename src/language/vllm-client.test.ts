import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { connected, prompt, sampleRequest as request } from '../../test/support/vllm-client.js';
import { answer, completion, fail, type ScriptedVllm, scored } from '../../test/support/vllm-server.js';
import type { SampleRequest } from './language-model.js';

describe('sampling', () => {
  it('sends every setting, and returns the completions in order of their indices', async () => {
    const { server, client } = await connected({ generate: answer(completion(1), completion(0)) });
    const completions = await client.sample(
      request({
        minTokens: 2,
        temperature: 0.5,
        topP: 0.75,
        topK: 7,
        minP: 0.25,
        presencePenalty: 0.5,
        frequencyPenalty: -1,
        repetitionPenalty: 1.5,
        stop: ['the end'],
        stopTokens: [9],
        ignoreEnd: true,
        seed: 3_000_000_000,
      }),
    );
    expect(completions.map(({ tokens }) => [...tokens])).toEqual([
      [40, 50, 1],
      [41, 51, 1],
    ]);
    expect(completions.map(({ logProbs }) => [...logProbs!])).toEqual([
      [-1, -2, -0.5],
      [-1, -2, -1.5],
    ]);
    expect(completions[0]!.text).toBe(client.tokenizer.decode([40, 50]));
    expect(server.requests[0]).toMatchObject({
      stream: false,
      tokenized: { inputIds: [2, 60, 61] },
      samplingParams: {
        n: 2,
        maxTokens: 8,
        minTokens: 2,
        temperature: 0.5,
        topP: 0.75,
        topK: 7,
        minP: 0.25,
        presencePenalty: 0.5,
        frequencyPenalty: -1,
        repetitionPenalty: 1.5,
        stop: ['the end'],
        stopTokenIds: [9],
        ignoreEos: true,
        seed: 3_000_000_000 - 2 ** 31,
        logprobs: 0,
      },
    });
    expect(server.aborted).toEqual([]);
  });

  it('sends temperature 1 and no seed by default', async () => {
    const { server, client } = await connected();
    const [first] = await client.sample(request({ logProbs: false }));
    expect(first!.logProbs).toBeUndefined();
    const { samplingParams } = server.requests[0]!;
    expect(samplingParams).toMatchObject({ temperature: 1, topP: 1 });
    expect(samplingParams).not.toHaveProperty('seed');
    expect(samplingParams).not.toHaveProperty('logprobs');
  });

  it.each([
    ['fox! the end', ' the end', 'fox!'],
    // An earlier occurrence did not end the completion (minTokens).
    ['fox the end fox the end', ' the end', 'fox the end fox'],
  ])('cuts %j at the stop text that ended it, and keeps the tokens', async (text, stop, cut) => {
    const { client } = await connected();
    const outputIds = [...client.tokenizer.encode(text, { begin: false })];
    const tokenLogprobs = outputIds.map(() => -1);
    const complete = completion(0, {
      outputIds,
      outputLogprobs: { tokenIds: outputIds, tokenLogprobs },
      matchedStopStr: stop,
    });
    const other = await connected({ generate: answer(complete) });
    const [only] = await other.client.sample(request({ completions: 1, stop: [stop] }));
    expect(only!.text).toBe(cut);
    expect([...only!.tokens]).toEqual(outputIds);
  });

  it('reports the model', async () => {
    const { client } = await connected();
    expect(client.info).toEqual({
      name: 'tiny',
      vocabularySize: 416,
      contextLength: 32,
      endTokens: [1],
      beginToken: 2,
    });
  });
});

describe('an error before anything is sent:', () => {
  const wrong: Record<string, [Partial<SampleRequest>, RegExp]> = {
    'an empty prompt': [{ prompt: new Int32Array() }, /the prompt is empty/],
    'a prompt as long as the context': [
      { prompt: new Int32Array(32).fill(5) },
      /tiny: a prompt of 32 tokens leaves no room in a context of 32/,
    ],
    'a token that the model does not have': [
      { prompt: Int32Array.of(2, 416) },
      /tiny: token 1 of the prompt is 416, but the model has only 416 tokens/,
    ],
    'a negative token': [{ prompt: Int32Array.of(-1) }, /token 0 of the prompt is -1/],
    'no completions': [{ completions: 0 }, /completions is 0\. It must be an integer of at least 1/],
    'no tokens': [{ maxTokens: 0 }, /maxTokens is 0/],
    'minTokens above maxTokens': [{ minTokens: 9 }, /minTokens is 9, but maxTokens is 8/],
    'a negative temperature': [{ temperature: -1 }, /temperature is -1/],
    'a temperature of NaN': [{ temperature: Number.NaN }, /temperature is NaN/],
    'the same completion twice': [{ temperature: 0 }, /2 completions at temperature 0 would be equal/],
    'topP of 0': [{ topP: 0 }, /topP is 0/],
    'topK of 0.5': [{ topK: 0.5 }, /topK is 0\.5/],
    'minP above 1': [{ minP: 1.5 }, /minP is 1\.5\. It must be between 0 and 1/],
    'a presence penalty of 3': [{ presencePenalty: 3 }, /presencePenalty is 3\. It must be between -2 and 2/],
    'a frequency penalty of NaN': [{ frequencyPenalty: Number.NaN }, /frequencyPenalty is NaN/],
    'a repetition penalty of 0': [
      { repetitionPenalty: 0 },
      /repetitionPenalty is 0\. It must be greater than 0/,
    ],
    'a negative seed': [{ seed: -1 }, /seed is -1/],
    'a stop token that the model does not have': [
      { stopTokens: [9, 416] },
      /the stop token is 416, but the model has only 416 tokens/,
    ],
    'an empty stop text': [{ stop: [''] }, /a stop text is empty/],
  };
  it.each(Object.entries(wrong))('%s', async (_what, [change, message]) => {
    const { server, client } = await connected();
    await expect(client.sample(request(change))).rejects.toThrow(message);
    await expect(client.stream(request(change))[Symbol.asyncIterator]().next()).rejects.toThrow(message);
    expect(server.requests).toEqual([]);
  });

  it('sequences that cannot be scored', async () => {
    const { server, client } = await connected();
    const score = (p: Int32Array, y: Int32Array) => client.score(p, y);
    await expect(score(prompt, new Int32Array())).rejects.toThrow(/the completion to score is empty/);
    await expect(score(new Int32Array(), prompt)).rejects.toThrow(/the prompt is empty/);
    await expect(score(prompt, Int32Array.of(999))).rejects.toThrow(/token 0 of the completion is 999/);
    await expect(score(prompt, new Int32Array(29).fill(5))).rejects.toThrow(
      /cannot be scored in a context of 32\. Together they may have 31 tokens/,
    );
    expect(server.requests).toEqual([]);
  });
});

const tokens = completion(0).outputIds!;
const logProbs = (...tokenLogprobs: number[]) => ({ outputLogprobs: { tokenIds: tokens, tokenLogprobs } });

describe('an error in the response of a server:', () => {
  const wrong: Record<string, [ScriptedVllm['generate'], RegExp]> = {
    'missing log-probs': [
      answer(completion(0, { outputLogprobs: undefined })),
      /completion 0 has 3 tokens, but 0 log-probs.*vLLM: logprobs/,
    ],
    'a log-prob of NaN': [
      answer(completion(0, logProbs(-1, Number.NaN, -1))),
      /the log-prob of token 1 of completion 0 is NaN/,
    ],
    'a log-prob of minus infinity': [
      answer(completion(0, logProbs(-Infinity, -1, -1))),
      /token 0 of completion 0 is -Infinity/,
    ],
    'a positive log-prob': [answer(completion(0, logProbs(-1, -1, 0.5))), /token 2 of completion 0 is 0\.5/],
    'log-probs of other tokens': [
      answer(completion(0, { outputLogprobs: { tokenIds: [7, 7, 7], tokenLogprobs: [-1, -1, -1] } })),
      /the log-probs of completion 0 belong to other tokens/,
    ],
    'an empty completion': [answer(completion(0, { outputIds: [] })), /completion 0 is empty/],
    'a token that the model does not have': [
      answer(completion(0, { outputIds: [40, 500, 1] })),
      /completion 0 has the token 500, but the model has only 416 tokens/,
    ],
    'a missing end': [answer(), /lacks the end of completion 0 of 1/],
    'a finish reason of error': [
      answer(completion(0, { finishReason: 'error' })),
      /completion 0 ended with 'error'/,
    ],
    'a completion that was not requested': [
      answer(completion(3)),
      /sent completion 3, but only 1 were requested/,
    ],
    'a refusal by the server': [
      fail(grpc.status.INVALID_ARGUMENT, 'logprobs over 20'),
      /the server refused Generate: INVALID_ARGUMENT: logprobs over 20/,
    ],
    'a dead engine': [
      fail(grpc.status.INTERNAL, 'EngineCore encountered an issue'),
      /the server refused Generate: INTERNAL: EngineCore/,
    ],
    'a message over the limit': [
      (call) => {
        const outputIds = new Array(200_000).fill(5);
        answer(completion(0, { outputIds }))(call);
      },
      /a message is over the limit.*Raise language\.sampler\.maxMessageMegabytes, or ask for fewer completions/,
    ],
  };
  it.each(Object.entries(wrong))('%s', async (_what, [generate, message]) => {
    const { client } = await connected({ generate }, { maxMessageMegabytes: 0.1 });
    await expect(client.sample(request({ completions: 1 }))).rejects.toThrow(message);
  });
});

describe('scoring', () => {
  it('requests the log-probs of a prompt that ends with the completion', async () => {
    const { server, client } = await connected({ generate: (call) => answer(scored(call))(call) });
    expect([...(await client.score(prompt, Int32Array.of(70, 71)))]).toEqual([-3, -4]);
    expect(server.requests[0]).toMatchObject({
      tokenized: { inputIds: [2, 60, 61, 70, 71] },
      samplingParams: { maxTokens: 1, promptLogprobs: 0, n: 1 },
    });
  });

  const wrong: Record<string, [ScriptedVllm['generate'], RegExp]> = {
    'no log-probs': [answer(completion(0)), /the server scored 0 of 5 tokens/],
    'a missing log-prob': [
      (call) => {
        const complete = scored(call);
        const values = [...complete.inputLogprobs!.tokenLogprobs!];
        values[3] = {};
        answer({ ...complete, inputLogprobs: { ...complete.inputLogprobs, tokenLogprobs: values } })(call);
      },
      /the log-prob of token 0 of the completion to score is NaN/,
    ],
    'other tokens': [
      (call) => {
        const complete = scored(call);
        answer({ ...complete, inputLogprobs: { ...complete.inputLogprobs, tokenIds: [0, 0, 0, 0, 0] } })(
          call,
        );
      },
      /the server scored other tokens/,
    ],
    'an empty response': [answer(), /lacks the end/],
  };
  it.each(Object.entries(wrong))('refuses %s', async (_what, [generate, message]) => {
    const { client } = await connected({ generate });
    await expect(client.score(prompt, Int32Array.of(70, 71))).rejects.toThrow(message);
  });
});

/** Pieces as vLLM sends them: each new token once, and the last token again in the final message. */
function inPieces(index: number): (call: grpc.ServerWritableStream<object, object>) => void {
  return (call) => {
    const { outputIds = [], outputLogprobs } = completion(index);
    outputIds.forEach((id, t) => {
      const piece = { tokenIds: [id], tokenLogprobs: [outputLogprobs!.tokenLogprobs![t]!] };
      call.write({ chunk: { index, tokenIds: [id], outputLogprobs: piece } });
    });
    call.write({
      complete: completion(index, { outputIds: outputIds.slice(-1), outputLogprobs: undefined }),
    });
  };
}

describe('streaming', () => {
  it('yields each token once, and the finish reason of each completion', async () => {
    const { client } = await connected({
      generate: (call) => {
        inPieces(1)(call);
        inPieces(0)(call);
        call.end();
      },
    });
    const got: number[][] = [[], []];
    const values: number[][] = [[], []];
    const ends: string[] = [];
    for await (const piece of client.stream(request())) {
      got[piece.index]!.push(...piece.tokens);
      values[piece.index]!.push(...piece.logProbs!);
      if (piece.finishReason !== undefined) ends[piece.index] = piece.finishReason;
    }
    expect(got).toEqual([completion(0).outputIds, completion(1).outputIds]);
    expect(values[1]).toEqual(completion(1).outputLogprobs!.tokenLogprobs);
    expect(ends).toEqual(['stop', 'stop']);
  });

  it('aborts the request on the server when the reader stops', async () => {
    const { server, client } = await connected({ generate: inPieces(0) });
    for await (const _piece of client.stream(request({ completions: 1 }))) break;
    await expect.poll(() => server.cancelled()).toBe(1);
    await expect.poll(() => server.aborted).toEqual([server.requests[0]!.requestId]);
  });

  it('is not repeated after a piece was delivered', async () => {
    const { server, client } = await connected({
      generate: (call) => {
        call.write({
          chunk: { index: 0, tokenIds: [40], outputLogprobs: { tokenIds: [40], tokenLogprobs: [-1] } },
        });
        setTimeout(() => fail(grpc.status.UNAVAILABLE, 'restarting')(call), 50);
      },
    });
    const got: number[] = [];
    const read = async () => {
      for await (const piece of client.stream(request({ completions: 1 }))) got.push(...piece.tokens);
    };
    await expect(read()).rejects.toThrow(/the connection was lost during Generate: restarting/);
    expect(got).toEqual([40]);
    expect(server.requests).toHaveLength(1);
  });

  it('fails if the end of a completion is missing', async () => {
    const { client } = await connected({
      generate: (call) => {
        inPieces(0)(call);
        call.end();
      },
    });
    const read = async () => {
      for await (const _piece of client.stream(request()));
    };
    await expect(read()).rejects.toThrow(/lacks the end of completion 1 of 2/);
  });
});
