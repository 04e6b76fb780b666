// Generated from proto/vllm/grpc/engine/vllm_engine.proto by `npm run generate`. Do not edit.

/** A service's methods, and the messages of each. */
export interface VllmEngine {
  /** Completes a prompt n times. With `stream`, completions arrive in chunks; without it, as one `complete` message each. */
  readonly Generate: {
    readonly request: GenerateRequest;
    readonly response: GenerateResponse;
  };
  readonly HealthCheck: {
    readonly request: HealthCheckRequest;
    readonly response: HealthCheckResponse;
  };
  /** Ends pending requests, by their request_id. */
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
  /** 1.0 in vLLM if absent. */
  readonly temperature?: number;
  /** 0 means "not set" here and in the numbers below; for top_p, 1 does as well. */
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
  /** The number of completions. */
  readonly n?: number;
  /** The number of most likely tokens to report beside each sampled one, at most 20 in vLLM; 0 reports only the sampled one. */
  readonly logprobs?: number;
  /** The same for the tokens of the prompt, which scores them. */
  readonly promptLogprobs?: number;
  /** Makes the completions repeatable, also for n > 1. */
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

/** The log-probs of the output tokens, in nats. */
export interface OutputLogProbs {
  readonly tokenLogprobs?: readonly number[];
  readonly tokenIds?: readonly number[];
  readonly topLogprobs?: readonly TopLogProbs[];
}

/** The log-probs of the prompt's tokens, in nats; the first token has none. */
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

/** The new tokens since the last chunk of the same completion. */
export interface GenerateStreamChunk {
  readonly tokenIds?: readonly number[];
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly cachedTokens?: number;
  readonly outputLogprobs?: OutputLogProbs;
  readonly inputLogprobs?: InputLogProbs;
  /** The index of the completion, 0 … n − 1. */
  readonly index?: number;
}

/**
 * The end of a completion. In a stream, `output_ids` repeats only the last chunk.
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

/** A part of a ZIP archive with the tokenizer's files (tokenizer.json, tokenizer_config.json, …). */
export interface GetTokenizerChunk {
  readonly data?: Uint8Array;
  /** The SHA-256 of the whole archive, in hexadecimal; only in the last part. */
  readonly sha256?: string;
}
