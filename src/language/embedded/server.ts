import { createHash, randomUUID } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { zipSync } from 'fflate';
import { PmpoError } from '../../core/errors.js';
import { foldIn, type RandomKey } from '../../core/random-keys.js';
import type { GenerateRequest } from '../../generated/vllm.js';
import { serviceOnDemand } from '../../grpc/protos.js';
import { vllmService } from '../services.js';
import type { TokenizerFiles } from '../tokenizer-files.js';
import { readGenerate, type Served } from './generate-requests.js';
import { generateAnswers } from './generate-responses.js';
import type { Scheduler } from './scheduler.js';

/** A server with vLLM's gRPC protocol for the embedded model: clients of vLLM can sample from it and score with it. */

export interface ServeModelOptions extends Served {
  readonly scheduler: Scheduler;
  /** The name of the model. */
  readonly name: string;
  readonly tokenizerFiles: TokenizerFiles;
  readonly beginToken: number;
  readonly padToken: number;
  /** The random key of completions whose request has no seed. */
  readonly key: RandomKey;
  /** host:port or unix:/path to listen on. Default: a free port of 127.0.0.1. */
  readonly address?: string;
}

export interface ModelServer {
  /** host:port or unix:/path. */
  readonly address: string;
  close(): Promise<void>;
}

const healthService = serviceOnDemand('grpc/health/v1/health.proto', 'grpc.health.v1.Health');
const servedServices = ['', 'vllm.grpc.engine.VllmEngine'];
const bytesPerChunk = 2 ** 16;

type Unary<Request> = (
  call: grpc.ServerUnaryCall<Request, unknown>,
  callback: grpc.sendUnaryData<unknown>,
) => void;
type GenerateCall = grpc.ServerWritableStream<GenerateRequest, unknown>;

/** Functions that abort the open requests, by the id that the client gave to the request. */
type OpenRequests = Map<string, Set<() => void>>;

/** @throws PmpoError when the server cannot listen on the address. */
export async function serveModel(options: ServeModelOptions): Promise<ModelServer> {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
  const openRequests: OpenRequests = new Map();
  const started = Date.now();
  let lastReceived = started;
  let requests = 0;
  const answer =
    <Request>(make: (request: Request) => object): Unary<Request> =>
    (call, callback) =>
      callback(null, make(call.request));
  server.addService(vllmService(), {
    Generate: (call: GenerateCall) => {
      lastReceived = Date.now();
      const key = foldIn(options.key, requests++);
      generate(call, options, key, openRequests);
    },
    Abort: answer(({ requestIds = [] }: { readonly requestIds?: readonly string[] }) => {
      for (const id of requestIds) for (const end of openRequests.get(id) ?? []) end();
      return {};
    }),
    HealthCheck: answer(() => ({ healthy: true, message: 'Health' })),
    GetModelInfo: answer(() => modelInfo(options)),
    GetServerInfo: answer(() => ({
      activeRequests: [...openRequests.values()].reduce((sum, calls) => sum + calls.size, 0),
      isPaused: false,
      lastReceiveTimestamp: lastReceived / 1000,
      uptimeSeconds: (Date.now() - started) / 1000,
      serverType: 'pmpo',
    })),
    GetTokenizer: (call: grpc.ServerWritableStream<object, unknown>) => {
      const archive = tokenizerArchive(options.tokenizerFiles);
      const sha256 = createHash('sha256').update(archive).digest('hex');
      for (let at = 0; at < archive.length; at += bytesPerChunk) {
        const isLast = at + bytesPerChunk >= archive.length;
        call.write({ data: archive.subarray(at, at + bytesPerChunk), sha256: isLast ? sha256 : '' });
      }
      call.end();
    },
  });
  server.addService(healthService(), {
    Check: ((call, callback) => {
      if (servedServices.includes(call.request.service ?? '')) return callback(null, { status: 'SERVING' });
      callback({ code: grpc.status.NOT_FOUND, details: `unknown service ${call.request.service}` });
    }) as Unary<{ readonly service?: string }>,
    Watch: (call: grpc.ServerWritableStream<{ readonly service?: string }, unknown>) => {
      const isServed = servedServices.includes(call.request.service ?? '');
      call.write({ status: isServed ? 'SERVING' : 'SERVICE_UNKNOWN' });
    },
  });
  const address = await bind(server, options.address ?? '127.0.0.1:0');
  return {
    address,
    async close() {
      server.forceShutdown();
    },
  };
}

/** @returns the address with the actual port. */
function bind(server: grpc.Server, address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (cause, port) => {
      if (cause === null)
        return resolve(address.startsWith('unix:') ? address : address.replace(/\d+$/, String(port)));
      reject(
        new PmpoError({
          where: address,
          what: `cannot listen on this address: ${cause.message}`,
          remedy: 'Choose an address that no other server uses; port 0 means any free port',
          cause,
        }),
      );
    });
  });
}

function generate(
  call: GenerateCall,
  options: ServeModelOptions,
  key: RandomKey,
  openRequests: OpenRequests,
): void {
  const { request } = call;
  let generation: ReturnType<typeof readGenerate>;
  try {
    generation = readGenerate(request, options, key);
  } catch (error) {
    call.emit('error', { code: grpc.status.INVALID_ARGUMENT, details: (error as Error).message });
    return;
  }
  const id = request.requestId || randomUUID();
  let open = true;
  let cancel = (): void => {};
  const abort = (): void => {
    cancel();
    answers.abort();
  };
  /** Ends the call once, whatever the reason. */
  const finish = (last: () => void): void => {
    if (!open) return;
    open = false;
    forget(openRequests, id, abort);
    last();
  };
  const answers = generateAnswers({
    generation,
    stream: request.stream === true,
    logProbs: request.samplingParams?.logprobs !== undefined,
    write: (message) => {
      if (open) call.write(message);
    },
    done: () => finish(() => call.end()),
    fail: (error) => finish(() => call.emit('error', { code: grpc.status.INTERNAL, details: error.message })),
  });
  cancel = options.scheduler.submit(generation, answers.listener);
  const calls = openRequests.get(id) ?? new Set();
  if (open) openRequests.set(id, calls.add(abort));
  call.on('cancelled', () => {
    cancel();
    finish(() => {});
  });
}

function forget(openRequests: OpenRequests, id: string, abort: () => void): void {
  const calls = openRequests.get(id);
  calls?.delete(abort);
  if (calls?.size === 0) openRequests.delete(id);
}

function modelInfo(options: ServeModelOptions): object {
  const { name, contextLength, vocabularySize, endTokens, beginToken, padToken } = options;
  return {
    modelPath: name,
    servedModelName: name,
    tokenizerPath: name,
    isGeneration: true,
    supportsVision: false,
    maxContextLength: contextLength,
    maxReqInputLen: contextLength - 1,
    vocabSize: vocabularySize,
    modelType: 'llama',
    architectures: ['LlamaForCausalLM'],
    eosTokenIds: endTokens,
    bosTokenId: beginToken,
    padTokenId: padToken,
    defaultSamplingParamsJson: '{}',
  };
}

/** The archive that GetTokenizer sends: the same bytes for the same tokenizer. */
function tokenizerArchive({ tokenizer, config, chatTemplate }: TokenizerFiles): Uint8Array {
  const encoder = new TextEncoder();
  const json = (value: object) => encoder.encode(`${JSON.stringify(value, undefined, 2)}\n`);
  return zipSync(
    {
      'tokenizer.json': json(tokenizer),
      'tokenizer_config.json': json(config),
      ...(chatTemplate === undefined ? {} : { 'chat_template.jinja': encoder.encode(chatTemplate) }),
    },
    { mtime: new Date(1980, 0, 1, 12) },
  );
}
