import { createHash } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { strToU8, zipSync } from 'fflate';
import type {
  GenerateComplete,
  GenerateRequest,
  GenerateResponse,
  GetModelInfoResponse,
} from '../../src/generated/vllm.js';
import { vllmService } from '../../src/language/services.js';
import { readFixture } from '../references/read.js';

/** A vLLM server without a model, with scripted responses. */

type GenerateCall = grpc.ServerWritableStream<GenerateRequest, GenerateResponse>;

export interface ScriptedVllm {
  /** The port to listen on; by default a free one. */
  readonly port?: number;
  readonly info?: GetModelInfoResponse;
  readonly credentials?: grpc.ServerCredentials;
  readonly token?: string;
  readonly archive?: Uint8Array;
  readonly sha256?: string;
  /** The status that GetTokenizer fails with. */
  readonly noTokenizer?: grpc.status;
  /** Answers a call of Generate; by default every completion is `completion(index)`. */
  readonly generate?: (call: GenerateCall) => void;
}

export interface VllmTestServer {
  readonly address: string;
  readonly port: number;
  readonly requests: GenerateRequest[];
  readonly aborted: string[];
  /** The number of cancelled calls of Generate. */
  readonly cancelled: () => number;
  close(): void;
}

const { kinds } = readFixture<{ kinds: Record<string, { tokenizer: string; config: string }> }>(
  'tokenizers_transformers',
);
export const fixtureTokenizer = kinds['byte-level']!;
const fixtureArchive = zipSync({
  'tokenizer.json': strToU8(fixtureTokenizer.tokenizer),
  'tokenizer_config.json': strToU8(fixtureTokenizer.config),
});

export const fixtureInfo: GetModelInfoResponse = {
  servedModelName: 'tiny',
  isGeneration: true,
  vocabSize: 416,
  maxContextLength: 32,
  eosTokenIds: [1],
};

/** A completion of three tokens with their log-probs. */
export function completion(index: number, change: Partial<GenerateComplete> = {}): GenerateComplete {
  const outputIds = [40 + index, 50 + index, 1];
  return {
    index,
    outputIds,
    finishReason: 'stop',
    outputLogprobs: { tokenLogprobs: [-1, -2, -0.5 - index], tokenIds: outputIds },
    ...change,
  };
}

/** A scored prompt: the log-probs of its tokens, from the second on, are −1, −2, … */
export function scored(call: GenerateCall): GenerateComplete {
  const tokenIds = call.request.tokenized?.inputIds ?? [];
  return completion(0, {
    inputLogprobs: { tokenIds, tokenLogprobs: tokenIds.map((_, t) => (t === 0 ? {} : { value: -t })) },
  });
}

/** Answers with complete completions, and ends the call. */
export function answer(...completes: readonly GenerateComplete[]): (call: GenerateCall) => void {
  return (call) => {
    for (const complete of completes) call.write({ complete });
    call.end();
  };
}

/** Ends a call with a status. */
export function fail(code: grpc.status, details = 'scripted failure'): (call: GenerateCall) => void {
  return (call) => {
    call.emit('error', { code, details });
  };
}

export async function vllmServer(script: ScriptedVllm = {}): Promise<VllmTestServer> {
  const requests: GenerateRequest[] = [];
  const aborted: string[] = [];
  let cancelled = 0;
  const archive = script.archive ?? fixtureArchive;
  const sha256 = script.sha256 ?? createHash('sha256').update(archive).digest('hex');
  const server = new grpc.Server();
  const refused = ({ metadata }: { readonly metadata: grpc.Metadata }) =>
    script.token !== undefined && metadata.get('authorization')[0] !== `Bearer ${script.token}`
      ? { code: grpc.status.UNAUTHENTICATED, details: 'wrong token' }
      : undefined;
  server.addService(vllmService(), {
    GetModelInfo(
      call: grpc.ServerUnaryCall<object, GetModelInfoResponse>,
      done: grpc.sendUnaryData<GetModelInfoResponse>,
    ) {
      const refusal = refused(call);
      if (refusal !== undefined) done(refusal);
      else done(null, script.info ?? fixtureInfo);
    },
    GetTokenizer(call: grpc.ServerWritableStream<object, object>) {
      if (script.noTokenizer !== undefined) {
        call.emit('error', { code: script.noTokenizer, details: 'no tokenizer files here' });
        return;
      }
      const middle = Math.floor(archive.length / 2);
      call.write({ data: archive.subarray(0, middle) });
      call.write({ data: archive.subarray(middle), sha256 });
      call.end();
    },
    Generate(call: GenerateCall) {
      const refusal = refused(call);
      if (refusal !== undefined) {
        call.emit('error', refusal);
        return;
      }
      requests.push(call.request);
      call.on('cancelled', () => cancelled++);
      const n = call.request.samplingParams?.n ?? 1;
      const usual = answer(...Array.from({ length: n }, (_, i) => completion(i)));
      (script.generate ?? usual)(call);
    },
    Abort(
      call: grpc.ServerUnaryCall<{ requestIds?: readonly string[] }, object>,
      done: grpc.sendUnaryData<object>,
    ) {
      aborted.push(...(call.request.requestIds ?? []));
      done(null, {});
    },
  });
  const credentials = script.credentials ?? grpc.ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${script.port ?? 0}`, credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    port,
    requests,
    aborted,
    cancelled: () => cancelled,
    close: () => server.forceShutdown(),
  };
}
