import { randomUUID } from 'node:crypto';
import { ConnectionLostError, PmpoError, StoppedError } from '../core/errors.js';
import type {
  GenerateComplete,
  GenerateRequest,
  GenerateResponse,
  GetModelInfoResponse,
  GetTokenizerChunk,
} from '../generated/vllm.js';
import { callStream, callUnary, DeadlineError } from '../grpc/call.js';
import type { Channel } from '../grpc/channel.js';
import { channelPool } from '../grpc/channel-pool.js';
import type { Peer } from '../grpc/peer.js';
import type { ServerPool } from '../grpc/server-pool.js';
import type { ServerSettings } from '../grpc/server-settings.js';
import { HuggingFaceTokenizer, loadTokenizer } from './hugging-face-tokenizer.js';
import type {
  Completion,
  CompletionPiece,
  LanguageModel,
  ModelInfo,
  SampleRequest,
} from './language-model.js';
import { vllmService } from './services.js';
import type { Tokenizer } from './tokenizer.js';
import { unpackTokenizerFiles } from './tokenizer-files.js';
import { generateRequest, scoreRequest } from './vllm-requests.js';
import {
  completionOf,
  finishReasonOf,
  indexOf,
  inputLogProbs,
  modelInfoOf,
  outputLogProbs,
  outputTokens,
} from './vllm-responses.js';

/** Connection settings of a server that samples completions. */
export interface LanguageModelServerSettings extends ServerSettings {
  /** A tokenizer.json, or the folder with that file. If omitted, the server's own tokenizer is fetched. */
  readonly tokenizer?: string;
}

/** How to connect to a vLLM server. */
export interface VllmClientOptions extends LanguageModelServerSettings {
  /** The configuration key of these settings, for error messages; default: `language.sampler`. */
  readonly configKey?: string;
}

/** Deadline of an Abort call. */
const abortSeconds = 5;

/** Maximum number of unused rows that may pad a model's embedding table beyond the tokenizer's vocabulary. */
const maxPadding = (tokens: number) => tokens * 0.05 + 64;

/**
 * A language model on one or several vLLM servers, or other servers of `vllm.grpc.engine.VllmEngine`. A call goes to the address
 * with the fewest running calls. A call that is lost with its connection is repeated with the same seed, except for a stream of which
 * a piece has been delivered.
 */
export class VllmClient implements LanguageModel {
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  readonly #pool: ServerPool<Channel>;
  readonly #peer: Peer;
  readonly #deadlineSeconds: number;
  readonly #aborts = new Set<Promise<unknown>>();

  private constructor(
    info: ModelInfo,
    tokenizer: Tokenizer,
    pool: ServerPool<Channel>,
    peer: Peer,
    deadlineSeconds: number,
  ) {
    this.info = { ...info, beginToken: tokenizer.beginToken ?? info.beginToken };
    this.tokenizer = tokenizer;
    this.#pool = pool;
    this.#peer = peer;
    this.#deadlineSeconds = deadlineSeconds;
  }

  /**
   * Connects to all addresses, and fetches the model's description and tokenizer.
   * @throws ConnectionLostError if an address cannot be reached; PmpoError if the addresses serve different models, the model does not
   *   complete texts, or the tokenizer does not fit it.
   */
  static async connect(options: VllmClientOptions): Promise<VllmClient> {
    const peer: Peer = {
      configKey: options.configKey ?? 'language.sampler',
      protocol: "vLLM's gRPC engine (vllm.grpc.engine.VllmEngine)",
      server: 'a vLLM server that was started with --grpc',
      smallerMessages: 'ask for fewer completions at once',
    };
    let known: ModelInfo | undefined;
    const { GetModelInfo } = vllmService();
    const greet = async (server: Channel, connectSeconds: number) => {
      const call = { deadlineSeconds: connectSeconds };
      const answer = await callUnary<GetModelInfoResponse>(server, GetModelInfo, {}, peer, call);
      const info = modelInfoOf(answer, server.address);
      known ??= info;
      checkSame(known, info, server.address);
    };
    const { pool, addresses, deadlineSeconds } = channelPool(options, peer, GetModelInfo, greet);
    try {
      await pool.connect();
      const tokenizer =
        options.tokenizer === undefined
          ? await pool.run((server) => fetchTokenizer(server, peer, deadlineSeconds))
          : await loadTokenizer(options.tokenizer);
      const info = known as ModelInfo | undefined;
      if (info === undefined)
        throw new PmpoError({ where: peer.configKey, what: 'the list of addresses is empty' });
      checkTokenizer(tokenizer, info, options.tokenizer ?? addresses[0] ?? '');
      return new VllmClient(info, tokenizer, pool, peer, deadlineSeconds);
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  async sample(request: SampleRequest): Promise<readonly Completion[]> {
    const { completions, logProbs = true } = request;
    const message = generateRequest(request, this.info, false);
    return this.#pool.run(async (server, signal) => {
      const where = server.address;
      const found: (Completion | undefined)[] = new Array(completions).fill(undefined);
      for await (const { complete } of this.#generate(server, message, signal)) {
        if (complete === undefined) continue;
        const index = indexOf(complete, completions, where);
        found[index] = completionOf(complete, {
          logProbs,
          info: this.info,
          tokenizer: this.tokenizer,
          where,
        });
      }
      return found.map((completion, index) => completion ?? throwMissing(index, completions, where));
    }, request.signal);
  }

  async *stream(request: SampleRequest): AsyncGenerator<CompletionPiece, void, undefined> {
    const message = generateRequest(request, this.info, true);
    yield* this.#pool.stream(
      (server, signal) => this.#pieces(server, request, message, signal),
      request.signal,
    );
  }

  async *#pieces(
    server: Channel,
    { completions, logProbs = true }: SampleRequest,
    message: GenerateRequest,
    signal: AbortSignal,
  ): AsyncGenerator<CompletionPiece, void, undefined> {
    const where = server.address;
    const lengths: number[] = new Array(completions).fill(0);
    const ended: boolean[] = new Array(completions).fill(false);
    for await (const { chunk, complete } of this.#generate(server, message, signal)) {
      if (chunk !== undefined && (chunk.tokenIds ?? []).length > 0) {
        const index = indexOf(chunk, completions, where);
        const what = `completion ${index}`;
        const tokens = outputTokens(chunk.tokenIds ?? [], this.info, what, where);
        lengths[index] += tokens.length;
        yield {
          index,
          tokens,
          ...(logProbs ? { logProbs: outputLogProbs(chunk.outputLogprobs, tokens, what, where) } : {}),
        };
      }
      if (complete !== undefined) {
        const index = indexOf(complete, completions, where);
        const finishReason = finishReasonOf(complete, `completion ${index}`, where);
        if (lengths[index] === 0) {
          throw new PmpoError({ where, what: `completion ${index} is empty` });
        }
        ended[index] = true;
        // Its tokens were delivered with the previous pieces.
        yield {
          index,
          tokens: new Int32Array(),
          ...(logProbs ? { logProbs: new Float32Array() } : {}),
          finishReason,
        };
      }
    }
    const open = ended.indexOf(false);
    if (open >= 0) throwMissing(open, completions, where);
  }

  async score(prompt: Int32Array, completion: Int32Array, signal?: AbortSignal): Promise<Float32Array> {
    const message = scoreRequest(prompt, completion, this.info);
    return this.#pool.run(async (server, stop) => {
      let scored: GenerateComplete | undefined;
      for await (const { complete } of this.#generate(server, message, stop)) scored ??= complete;
      if (scored === undefined) return throwMissing(0, 1, server.address);
      return inputLogProbs(scored.inputLogprobs, prompt, completion, server.address);
    }, signal);
  }

  /** The responses to Generate. If the caller stops reading, the request is aborted on the server. */
  async *#generate(
    server: Channel,
    message: GenerateRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerateResponse, void, undefined> {
    const options = { deadlineSeconds: this.#deadlineSeconds, signal };
    // A new id for each attempt: the server may still be working on the previous one.
    const requestId = `pmpo-${randomUUID()}`;
    const request = { ...message, requestId };
    let mustAbort = true;
    try {
      yield* callStream<GenerateResponse>(server, vllmService().Generate, request, this.#peer, options);
      mustAbort = false;
    } catch (error) {
      // A server that refused the request, or is gone, has nothing to abort.
      mustAbort = error instanceof StoppedError || error instanceof DeadlineError;
      throw error;
    } finally {
      if (mustAbort) this.#abort(server, requestId);
    }
  }

  #abort(server: Channel, id: string): void {
    const request = { requestIds: [id] };
    const options = { deadlineSeconds: abortSeconds };
    // Canceling the call tells the server, too, but some proxies do not pass that on.
    const aborting = callUnary(server, vllmService().Abort, request, this.#peer, options)
      .catch(() => {})
      .finally(() => this.#aborts.delete(aborting));
    this.#aborts.add(aborting);
  }

  async close(): Promise<void> {
    this.#pool.close();
    await Promise.all(this.#aborts);
  }
}

function throwMissing(index: number, completions: number, where: string): never {
  throw new PmpoError({
    where,
    what: `the server's answer lacks the end of completion ${index} of ${completions}`,
    remedy: "See the server's log",
  });
}

async function fetchTokenizer(
  server: Channel,
  peer: Peer,
  deadlineSeconds: number,
): Promise<HuggingFaceTokenizer> {
  const pieces: Uint8Array[] = [];
  let sha256 = '';
  const options = { deadlineSeconds };
  try {
    for await (const chunk of callStream<GetTokenizerChunk>(
      server,
      vllmService().GetTokenizer,
      {},
      peer,
      options,
    )) {
      pieces.push(chunk.data ?? new Uint8Array());
      sha256 = chunk.sha256 || sha256;
    }
  } catch (error) {
    if (!(error instanceof PmpoError) || error instanceof ConnectionLostError) throw error;
    const { what } = error.details;
    const remedy = `Give the folder of the model's tokenizer as ${peer.configKey}.tokenizer`;
    throw new PmpoError({
      where: server.address,
      what: `the tokenizer cannot be fetched: ${what}`,
      remedy,
      cause: error,
    });
  }
  return new HuggingFaceTokenizer(unpackTokenizerFiles(Buffer.concat(pieces), server.address, sha256));
}

/** @throws PmpoError if a server has another model than the other servers, or than before its restart. */
function checkSame(known: ModelInfo, info: ModelInfo, where: string): void {
  const facts = ({ vocabularySize, contextLength, endTokens }: ModelInfo) =>
    `${vocabularySize} tokens, a context of ${contextLength}, end tokens ${[...endTokens].sort((a, b) => a - b).join(' ')}`;
  if (facts(known) === facts(info)) return;
  throw new PmpoError({
    where,
    what: `the server has another model (${info.name}: ${facts(info)}) than the one first connected to (${known.name}: ${facts(known)})`,
    remedy: 'Serve the same model at every address, and again after a restart',
  });
}

/** @throws PmpoError if the sizes show that the tokenizer belongs to another model. */
function checkTokenizer(tokenizer: HuggingFaceTokenizer, info: ModelInfo, where: string): void {
  const { textVocabularySize, vocabularySize } = tokenizer;
  const tooMany = textVocabularySize > info.vocabularySize;
  const tooFew = info.vocabularySize > vocabularySize + maxPadding(vocabularySize);
  if (!tooMany && !tooFew) return;
  throw new PmpoError({
    where,
    what: `the tokenizer has ${vocabularySize} tokens, but the model ${info.name} has ${info.vocabularySize}`,
    remedy: "Give the folder of the model's own tokenizer",
  });
}
