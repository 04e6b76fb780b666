import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { grpcServer } from '../../test/environments/servers.js';
import type {
  ModelInferRequest,
  ModelInferResponse,
  ModelMetadataResponse as ModelMetadata,
  ModelInferResponseInferOutputTensor as OutputTensor,
} from '../generated/open-inference.js';
import { OpenInferenceClient, type OpenInferenceOptions } from './open-inference-client.js';
import type { Samples } from './open-inference-inputs.js';
import { inferenceService } from './services.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Answer = (
  request: ModelInferRequest,
) => ModelInferResponse | grpc.ServiceError | Partial<grpc.StatusObject>;

const texts: ModelMetadata = {
  name: 'reward',
  inputs: [{ name: 'text', datatype: 'BYTES', shape: [-1, 1] }],
  outputs: [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }],
};
const tokens: ModelMetadata = {
  name: 'reward',
  inputs: [
    { name: 'input_ids', datatype: 'INT64', shape: [-1, -1] },
    { name: 'attention_mask', datatype: 'INT64', shape: [-1, -1] },
  ],
  outputs: [{ name: 'score', datatype: 'FP32', shape: [-1] }],
};

const sizeOf = ({ inputs }: ModelInferRequest) => inputs?.[0]?.shape?.[0] ?? 0;

/** The score of a text is its length in bytes. */
const lengths: Answer = (request) => {
  const pieces = request.inputs?.[0]?.contents?.bytesContents ?? [];
  return {
    modelName: 'reward',
    outputs: [
      {
        name: 'score',
        datatype: 'FP32',
        shape: [pieces.length, 1],
        contents: { fp32Contents: pieces.map(({ length }) => length) },
      },
    ],
  };
};

async function serve(metadata: ModelMetadata | grpc.status, answer: Answer = lengths) {
  const requests: ModelInferRequest[] = [];
  const server = await grpcServer(inferenceService(), {
    ModelMetadata(_call: unknown, done: grpc.sendUnaryData<ModelMetadata>) {
      if (typeof metadata === 'number') done({ code: metadata, details: 'Request for unknown model' });
      else done(null, metadata);
    },
    ModelInfer(
      call: grpc.ServerUnaryCall<ModelInferRequest, ModelInferResponse>,
      done: grpc.sendUnaryData<ModelInferResponse>,
    ) {
      requests.push(call.request);
      const result = answer(call.request);
      if ('code' in result) done(result);
      else done(null, result as ModelInferResponse);
    },
  });
  cleanups.push(() => server.close());
  return { address: server.address, requests };
}

async function connected(
  metadata: ModelMetadata | grpc.status,
  answer?: Answer,
  options: Partial<OpenInferenceOptions> = {},
) {
  const { address, requests } = await serve(metadata, answer);
  const client = await OpenInferenceClient.connect({
    address,
    model: 'reward',
    deadlineSeconds: 5,
    reconnect: { attempts: 3, initialDelaySeconds: 0.01 },
    ...options,
  });
  cleanups.push(() => client.close());
  return { client, requests };
}

describe('texts', () => {
  it('are scored in batches, in order', async () => {
    const { client, requests } = await connected(texts, lengths, { batchSize: 2 });
    expect(client.takes).toBe('texts');
    expect([...(await client.infer(['a', '', 'ééé', 'four', '🎉']))]).toEqual([1, 0, 6, 4, 4]);
    expect(requests.map(sizeOf)).toEqual([2, 2, 1]);
    expect(requests[0]).toMatchObject({
      modelName: 'reward',
      inputs: [{ name: 'text', datatype: 'BYTES', shape: [2, 1] }],
      outputs: [{ name: 'score' }],
    });
  });

  it('may be an empty list', async () => {
    const { client, requests } = await connected(texts);
    expect(await client.infer([])).toHaveLength(0);
    expect(requests).toEqual([]);
  });

  it('are sent one by one to a model with batch size 1', async () => {
    const one = { ...texts, inputs: [{ name: 'text', datatype: 'BYTES', shape: [1] }] };
    const { client, requests } = await connected(one);
    expect([...(await client.infer(['a', 'bc']))]).toEqual([1, 2]);
    expect(requests.map(({ inputs }) => inputs?.[0]?.shape)).toEqual([[1], [1]]);
  });

  it('are sent again after a lost connection', async () => {
    let calls = 0;
    const { client } = await connected(texts, (request) =>
      calls++ < 2 ? { code: grpc.status.UNAVAILABLE, details: 'restarting' } : lengths(request),
    );
    expect([...(await client.infer(['abc']))]).toEqual([3]);
  });
});

/** The sum of each row's tokens where the mask is 1. */
const sums: Answer = ({ inputs = [] }) => {
  const [rows = 0, width = 0] = inputs[0]?.shape ?? [];
  const { int64Contents = [], intContents = [] } = inputs[0]?.contents ?? {};
  const ids = [...int64Contents, ...intContents];
  const mask = inputs[1]?.contents?.int64Contents;
  const raw = new Float32Array(rows);
  ids.forEach((id, i) => {
    raw[Math.floor(i / width)]! += mask === undefined ? id : id * mask[i]!;
  });
  return {
    outputs: [{ name: 'score', datatype: 'FP32', shape: [rows] }],
    rawOutputContents: [new Uint8Array(raw.buffer)],
  };
};

describe('tokens', () => {
  const samples = [Int32Array.of(1, 2, 3), Int32Array.of(4), Int32Array.of(5, 6)];

  it('are padded and masked', async () => {
    const { client, requests } = await connected(tokens, sums, { padToken: 99 });
    expect(client.takes).toBe('tokens');
    expect([...(await client.infer(samples))]).toEqual([6, 4, 11]);
    expect(requests[0]?.inputs?.map(({ contents }) => contents?.int64Contents)).toEqual([
      [1, 2, 3, 4, 99, 99, 5, 6, 99],
      [1, 1, 1, 1, 0, 0, 1, 1, 0],
    ]);
  });

  it('are batched by length if there is no mask', async () => {
    const unmasked = { ...tokens, inputs: [{ name: 'ids', datatype: 'INT32', shape: [-1, -1] }] };
    const { client, requests } = await connected(unmasked, sums);
    const more = [...samples, Int32Array.of(7)];
    expect([...(await client.infer(more))]).toEqual([6, 4, 11, 7]);
    expect(requests.map(({ inputs }) => inputs?.[0]?.shape)).toEqual([
      [1, 3],
      [2, 1],
      [1, 2],
    ]);
    expect(requests[1]?.inputs?.[0]?.contents?.intContents).toEqual([4, 7]);
  });

  it('must have the length that the model takes', async () => {
    const fixed = { ...tokens, inputs: [{ name: 'ids', datatype: 'INT64', shape: [-1, 2] }] };
    const { client } = await connected(fixed, sums);
    await expect(client.infer(samples)).rejects.toThrow(
      /sample 0 has 3 tokens, but the model takes exactly 2/,
    );
  });
});

describe('an error for', () => {
  const wrong: [string, ModelMetadata, Samples, RegExp][] = [
    ['tokens for texts', texts, [Int32Array.of(1)], /it takes texts, but got tokens/],
    ['texts for tokens', tokens, ['a'], /it takes tokens, but got texts/],
    ['no tokens', tokens, [new Int32Array()], /sample 0 has no tokens/],
  ];
  it.each(wrong)('%s', async (_what, metadata, samples, message) => {
    const { client, requests } = await connected(metadata);
    await expect(client.infer(samples)).rejects.toThrow(message);
    expect(requests).toEqual([]);
  });
});

describe('numbers', () => {
  const bytes = (array: ArrayBufferView) => new Uint8Array(array.buffer);
  const raw: [string, Uint8Array, readonly number[]][] = [
    ['FP32', bytes(Float32Array.of(1.5, -2)), [1.5, -2]],
    ['FP64', bytes(Float64Array.of(0.25, -2)), [0.25, -2]],
    ['FP16', bytes(Uint16Array.of(0x3e00, 0x8001)), [1.5, -(2 ** -24)]],
    ['BF16', bytes(Uint16Array.of(0x3fc0, 0xc000)), [1.5, -2]],
    ['INT64', bytes(BigInt64Array.of(3n, -4n)), [3, -4]],
    ['UINT64', bytes(BigUint64Array.of(3n, 4n)), [3, 4]],
    ['INT32', bytes(Int32Array.of(3, -4)), [3, -4]],
    ['UINT32', bytes(Uint32Array.of(3, 4)), [3, 4]],
    ['INT16', bytes(Int16Array.of(3, -4)), [3, -4]],
    ['UINT16', bytes(Uint16Array.of(3, 4)), [3, 4]],
    ['INT8', bytes(Int8Array.of(3, -4)), [3, -4]],
    ['UINT8', bytes(Uint8Array.of(3, 4)), [3, 4]],
    ['BOOL', bytes(Uint8Array.of(1, 0)), [1, 0]],
  ];
  it.each(raw)('of %s are read from bytes', async (datatype, contents, expected) => {
    const outputs = [{ name: 'score', datatype, shape: [2] }];
    const { client } = await connected({ ...texts, outputs }, () => ({
      outputs,
      rawOutputContents: [contents],
    }));
    expect([...(await client.infer(['a', 'b']))]).toEqual(expected);
  });

  const listed: [string, OutputTensor['contents'], readonly number[]][] = [
    ['FP64', { fp64Contents: [0.25, -2] }, [0.25, -2]],
    ['INT64', { int64Contents: [3, -4] }, [3, -4]],
    ['UINT64', { uint64Contents: [3, 4] }, [3, 4]],
    ['INT8', { intContents: [3, -4] }, [3, -4]],
    ['UINT8', { uintContents: [3, 4] }, [3, 4]],
    ['BOOL', { boolContents: [true, false] }, [1, 0]],
  ];
  it.each(listed)('of %s are read from a list', async (datatype, contents, expected) => {
    const { client } = await connected(
      { ...texts, outputs: [{ name: 'score', datatype, shape: [2] }] },
      () => ({ outputs: [{ name: 'score', datatype, shape: [2], contents }] }),
    );
    expect([...(await client.infer(['a', 'b']))]).toEqual(expected);
  });

  it('may be several, one of which is the score', async () => {
    const answer: Answer = () => ({
      outputs: [{ name: 'score', datatype: 'FP32', shape: [2, 2], contents: { fp32Contents: [1, 2, 3, 4] } }],
    });
    const { client } = await connected(texts, answer, { column: 1 });
    expect([...(await client.infer(['a', 'b']))]).toEqual([2, 4]);
    const other = await connected(texts, answer, { column: 2 });
    await expect(other.client.infer(['a', 'b'])).rejects.toThrow(
      /2 numbers for each sample, but no number 2/,
    );
  });
});

const score = (change: OutputTensor): ModelInferResponse => ({
  outputs: [
    { name: 'score', datatype: 'FP32', shape: [2, 1], contents: { fp32Contents: [1, 2] }, ...change },
  ],
});

describe('an error in the response of a server:', () => {
  const wrong: Record<string, [Answer, RegExp]> = {
    'another shape': [
      () => score({ shape: [1, 2] }),
      /the output 'score' has the shape \[1, 2\] for 2 samples\. It must have one number for each: \[2\] or \[2, 1\]/,
    ],
    'several numbers for each sample': [
      () => score({ shape: [2, 2], contents: { fp32Contents: [1, 2, 3, 4] } }),
      /has 2 numbers for each sample\. Set language\.reward\.column to the index of the score, 0 to 1/,
    ],
    'fewer numbers than the shape says': [
      () => score({ contents: { fp32Contents: [1] } }),
      /has the shape \[2, 1\] and the datatype FP32, but 1 numbers/,
    ],
    'a wrong number of bytes': [
      () => ({ ...score({}), rawOutputContents: [new Uint8Array(7)] }),
      /the datatype FP32, but 7 bytes/,
    ],
    texts: [() => score({ datatype: 'BYTES' }), /has the datatype BYTES\. It must be numeric/],
    'a missing output': [() => score({ name: 'other' }), /has no output 'score'\. It has other/],
    'another model': [
      () => ({ ...score({}), modelName: 'other' }),
      /the answer comes from another model, 'other'/,
    ],
    NaN: [() => score({ contents: { fp32Contents: [1, Number.NaN] } }), /the score of sample 1 is NaN/],
    'a refusal by the server': [
      () => ({ code: grpc.status.INVALID_ARGUMENT, details: 'too many texts' }),
      /the server refused ModelInfer: INVALID_ARGUMENT: too many texts/,
    ],
    'a model that was unloaded': [
      () => ({ code: grpc.status.NOT_FOUND, details: 'unloaded' }),
      /there is no model 'reward': unloaded/,
    ],
  };
  it.each(Object.entries(wrong))('%s', async (_what, [answer, message]) => {
    const { client } = await connected(texts, answer);
    await expect(client.infer(['a', 'b'])).rejects.toThrow(message);
  });
});

describe('connecting fails for a model', () => {
  const image = { name: 'image', datatype: 'FP32', shape: [-1, 3, 224, 224] };
  const wrong: Record<string, [ModelMetadata | grpc.status, RegExp, Partial<OpenInferenceOptions>?]> = {
    'that does not exist': [
      grpc.status.INVALID_ARGUMENT,
      /there is no model 'reward': Request for unknown model/,
    ],
    'without metadata': [
      { ...texts, inputs: [] },
      /not clear which of its inputs takes the samples\. It has none\. Declare the model's inputs/,
    ],
    'that takes images': [{ ...texts, inputs: [image] }, /it takes image \(FP32, \[-1, 3, 224, 224\]\)/],
    'that takes two texts': [
      { ...texts, inputs: [texts.inputs![0]!, { name: 'answer', datatype: 'BYTES', shape: [-1] }] },
      /not clear which of its inputs takes the samples\. It has text \(BYTES, \[-1, 1\]\), answer/,
    ],
    'without the input that was named': [texts, /it has no input 'prompt'/, { input: 'prompt' }],
    'with batches of a fixed size': [
      { ...texts, inputs: [{ name: 'text', datatype: 'BYTES', shape: [8, 1] }] },
      /it takes only batches of 8/,
    ],
    'with several outputs': [
      {
        ...texts,
        outputs: [
          { name: 'a', datatype: 'FP32' },
          { name: 'b', datatype: 'FP64' },
        ],
      },
      /not clear which of its outputs has the scores\. It has a \(FP32\), b \(FP64\)\. Set `output`/,
    ],
    'whose output is text': [
      { ...texts, outputs: [{ name: 'label', datatype: 'BYTES' }] },
      /not clear which of its outputs has the scores\. It has label \(BYTES\)/,
    ],
    'without the output that was named': [texts, /it has no numeric output 'reward'/, { output: 'reward' }],
  };
  it.each(Object.entries(wrong))('%s', async (_what, [metadata, message, options]) => {
    await expect(connected(metadata, lengths, options)).rejects.toThrow(message);
  });

  it('that differs between the addresses', async () => {
    const address = [(await serve(texts)).address, (await serve(tokens)).address];
    await expect(OpenInferenceClient.connect({ address, model: 'reward' })).rejects.toThrow(
      /the model 'reward' has other inputs or outputs than at/,
    );
  });
});
