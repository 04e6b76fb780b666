// Generated from proto/vllm/grpc/engine/vllm_engine.proto by `npm run generate`. Do not edit.

/** A service's methods, and the messages of each. */
export interface VllmEngine {
  /** Completions of one prompt: with `stream` in pieces, without one `complete` message for each of the n. */
  readonly Generate: {
    readonly request: GenerateRequest;
    readonly response: GenerateResponse;
  };
  readonly HealthCheck: {
    readonly request: HealthCheckRequest;
    readonly response: HealthCheckResponse;
  };
  /** Ends requests under way, by their request_id. */
  readonly Abort: {
    readonly request: AbortRequest;
    readonly response: AbortResponse;
  };
  readonly GetModelInfo: {
    readonly request: GetModelInfoRequest;
    readonly response: GetModelInfoResponse;
  };
  readonly GetServerInfo: {
    readonly request: GetServerInfoRequest;
    readonly response: GetServerInfoResponse;
  };
  readonly GetTokenizer: {
    readonly request: GetTokenizerRequest;
    readonly response: GetTokenizerChunk;
  };
}

export interface SamplingParams {
  /** vLLM takes an absent one as 1.0. */
  readonly temperature?: number;
  /** 0 stands for "not set" in this and the numbers below; so does 1 for top_p. */
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly repetitionPenalty?: number;
  readonly maxTokens?: number;
  readonly minTokens?: number;
  readonly stop?: readonly string[];
  readonly stopTokenIds?: readonly number[];
  readonly skipSpecialTokens?: boolean;
  readonly spacesBetweenSpecialTokens?: boolean;
  readonly ignoreEos?: boolean;
  /** Completions of this prompt. */
  readonly n?: number;
  /** How many of the likeliest tokens to report beside each sampled one; 0 reports the sampled one alone. At most 20 in vLLM. */
  readonly logprobs?: number;
  /** The same for the prompt's own tokens, which scores them. */
  readonly promptLogprobs?: number;
  /** Makes n > 1 repeatable too. */
  readonly seed?: number;
  readonly includeStopStrInOutput?: boolean;
}

export interface TokenizedInput {
  readonly originalText?: string;
  readonly inputIds?: readonly number[];
}

/** At most one is present: tokenized, text. */
export interface GenerateRequest {
  readonly requestId?: string;
  readonly tokenized?: TokenizedInput;
  readonly text?: string;
  readonly samplingParams?: SamplingParams;
  readonly stream?: boolean;
}

/** Of each output token, nats. */
export interface OutputLogProbs {
  readonly tokenLogprobs?: readonly number[];
  readonly tokenIds?: readonly number[];
  readonly topLogprobs?: readonly TopLogProbs[];
}

/** Of each prompt token; the first has none. */
export interface InputLogProbs {
  readonly tokenLogprobs?: readonly InputTokenLogProb[];
  readonly tokenIds?: readonly number[];
  readonly topLogprobs?: readonly TopLogProbs[];
}

export interface InputTokenLogProb {
  readonly value?: number;
}

export interface TopLogProbs {
  readonly values?: readonly number[];
  readonly tokenIds?: readonly number[];
}

/** At most one is present: chunk, complete. */
export interface GenerateResponse {
  readonly chunk?: GenerateStreamChunk;
  readonly complete?: GenerateComplete;
}

/** What is new since the last piece of the same completion. */
export interface GenerateStreamChunk {
  readonly tokenIds?: readonly number[];
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly cachedTokens?: number;
  readonly outputLogprobs?: OutputLogProbs;
  readonly inputLogprobs?: InputLogProbs;
  /** Which of the n. */
  readonly index?: number;
}

/**
 * The end of a completion. After pieces, `output_ids` repeats the last of them only.
 * At most one is present: matchedTokenId, matchedStopStr.
 */
export interface GenerateComplete {
  readonly outputIds?: readonly number[];
  /** stop, length, abort or error. */
  readonly finishReason?: string;
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly cachedTokens?: number;
  readonly outputLogprobs?: OutputLogProbs;
  readonly inputLogprobs?: InputLogProbs;
  readonly index?: number;
  readonly matchedTokenId?: number;
  readonly matchedStopStr?: string;
}

export type HealthCheckRequest = Record<string, never>;

export interface HealthCheckResponse {
  readonly healthy?: boolean;
  readonly message?: string;
}

export interface AbortRequest {
  readonly requestIds?: readonly string[];
}

export type AbortResponse = Record<string, never>;

export type GetModelInfoRequest = Record<string, never>;

export interface GetModelInfoResponse {
  readonly modelPath?: string;
  readonly isGeneration?: boolean;
  readonly maxContextLength?: number;
  readonly vocabSize?: number;
  readonly supportsVision?: boolean;
  readonly servedModelName?: string;
  readonly tokenizerPath?: string;
  readonly modelType?: string;
  readonly architectures?: readonly string[];
  readonly eosTokenIds?: readonly number[];
  readonly padTokenId?: number;
  readonly bosTokenId?: number;
  readonly maxReqInputLen?: number;
  readonly defaultSamplingParamsJson?: string;
}

export type GetServerInfoRequest = Record<string, never>;

export interface GetServerInfoResponse {
  readonly activeRequests?: number;
  readonly isPaused?: boolean;
  readonly lastReceiveTimestamp?: number;
  readonly uptimeSeconds?: number;
  /** vllm-grpc, or pmpo. */
  readonly serverType?: string;
}

export type GetTokenizerRequest = Record<string, never>;

/** A ZIP archive of the tokenizer's files (tokenizer.json, tokenizer_config.json, …), in pieces to be put together. */
export interface GetTokenizerChunk {
  readonly data?: Uint8Array;
  /** Of the whole archive, in hexadecimal; only in the last piece. */
  readonly sha256?: string;
}
