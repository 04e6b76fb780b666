import { loadService } from '../grpc/protos.js';

/** The messages of `vllm.grpc.engine.VllmEngine`, as proto/vllm/grpc/engine/vllm_engine.proto has them. */

export const vllmService = loadService('vllm/grpc/engine/vllm_engine.proto', 'vllm.grpc.engine.VllmEngine');

export interface WireSamplingParams {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  /** 0 stands for "not set". */
  readonly repetitionPenalty?: number;
  readonly maxTokens?: number;
  readonly minTokens?: number;
  readonly stop?: readonly string[];
  readonly stopTokenIds?: readonly number[];
  readonly skipSpecialTokens?: boolean;
  readonly ignoreEos?: boolean;
  readonly n?: number;
  readonly logprobs?: number;
  readonly promptLogprobs?: number;
  readonly seed?: number;
}

export interface WireGenerateRequest {
  readonly requestId?: string;
  readonly tokenized?: { readonly originalText?: string; readonly inputIds?: readonly number[] };
  readonly text?: string;
  readonly samplingParams?: WireSamplingParams;
  readonly stream?: boolean;
}

export interface WireOutputLogProbs {
  readonly tokenLogprobs?: readonly number[];
  readonly tokenIds?: readonly number[];
}

export interface WireInputLogProbs {
  readonly tokenLogprobs?: readonly { readonly value?: number }[];
  readonly tokenIds?: readonly number[];
}

export interface WireChunk {
  readonly tokenIds?: readonly number[];
  readonly outputLogprobs?: WireOutputLogProbs;
  readonly index?: number;
}

export interface WireComplete {
  readonly outputIds?: readonly number[];
  readonly finishReason?: string;
  readonly outputLogprobs?: WireOutputLogProbs;
  readonly inputLogprobs?: WireInputLogProbs;
  readonly index?: number;
  readonly matchedTokenId?: number;
  readonly matchedStopStr?: string;
}

export interface WireGenerateResponse {
  readonly chunk?: WireChunk;
  readonly complete?: WireComplete;
}

export interface WireModelInfo {
  readonly modelPath?: string;
  readonly isGeneration?: boolean;
  readonly maxContextLength?: number;
  readonly vocabSize?: number;
  readonly servedModelName?: string;
  readonly eosTokenIds?: readonly number[];
  readonly bosTokenId?: number;
}

export interface WireTokenizerChunk {
  readonly data?: Uint8Array;
  readonly sha256?: string;
}
