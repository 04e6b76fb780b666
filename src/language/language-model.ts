import type { Tokenizer } from './tokenizer.js';

/**
 * A language model that samples and scores completions: a remote server, or the embedded model behind the same protocol.
 * Shapes: N completions of a prompt, T tokens of a completion, V vocabulary.
 */

/** What a server reports about its model. */
export interface ModelInfo {
  /** The name under which the server serves it. */
  readonly name: string;
  /** V. */
  readonly vocabularySize: number;
  /** Maximum number of tokens of prompt and completion together. */
  readonly contextLength: number;
  /** Tokens that end a completion. */
  readonly endTokens: readonly number[];
  /** The token that begins a text (BOS), if the model has one. */
  readonly beginToken?: number;
}

/** How completions are sampled. Omitted settings are neutral: temperature 1, all V tokens, no penalties. */
export interface SamplingSettings {
  /** Maximum length of a completion, in tokens. */
  readonly maxTokens: number;
  /** Minimum length of a completion, in tokens: nothing ends it earlier. */
  readonly minTokens?: number;
  /** 0 takes the most likely token at each step. */
  readonly temperature?: number;
  /** Nucleus sampling: only the smallest set of tokens with at least this much probability; 1: all tokens. */
  readonly topP?: number;
  /** Only the k most likely tokens; 0: all tokens. */
  readonly topK?: number;
  /** Only tokens with at least this share of the most likely token's probability; 0: all tokens. */
  readonly minP?: number;
  /** Subtracted from the logits of tokens that the completion already has, −2 to 2. */
  readonly presencePenalty?: number;
  /** Subtracted for each time that the completion already has the token, −2 to 2. */
  readonly frequencyPenalty?: number;
  /** Divides positive logits, and multiplies negative ones, of tokens in the prompt or the completion; 1: no penalty. */
  readonly repetitionPenalty?: number;
  /** Texts that end a completion. They are not part of its text. */
  readonly stop?: readonly string[];
  /** Tokens that end a completion, in addition to the model's end tokens. */
  readonly stopTokens?: readonly number[];
  /** If true, the model's end tokens do not end a completion. */
  readonly ignoreEnd?: boolean;
}

/** A request for N completions of one prompt. */
export interface SampleRequest extends SamplingSettings {
  /** The tokens of the prompt, at least one. */
  readonly prompt: Int32Array;
  /** N. */
  readonly completions: number;
  /** The same seed gives the same completions on the same server. If omitted, the server chooses. */
  readonly seed?: number;
  /** Whether to return log-probs; default: true. */
  readonly logProbs?: boolean;
  /** Aborting it stops the request on the server, too, and rejects the promise. */
  readonly signal?: AbortSignal;
}

/** `stop`: an end token or a stop text ended the completion. `length`: `maxTokens` or the context did. */
export type FinishReason = 'stop' | 'length';

/** A completion. */
export interface Completion {
  /** [T], including the end token if there is one. */
  readonly tokens: Int32Array;
  /** The decoded text without special tokens and stop text. */
  readonly text: string;
  /** log π(y_t | x, y_<t) of each token, [T], in nats, at temperature 1 over all V tokens; undefined if not requested. */
  readonly logProbs?: Float32Array;
  readonly finishReason: FinishReason;
}

/** The newest tokens of a completion while it is generated. */
export interface CompletionPiece {
  /** Index of the completion, 0 to N − 1. */
  readonly index: number;
  /** The new tokens; may be empty in the last piece. */
  readonly tokens: Int32Array;
  /** Their log-probs, in nats, if requested. */
  readonly logProbs?: Float32Array;
  /** Set in the last piece of a completion. */
  readonly finishReason?: FinishReason;
}

/** Samples and scores completions of one model. */
export interface LanguageModel {
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  /**
   * Samples N completions of one prompt.
   * @throws PmpoError if the settings are invalid, the prompt does not fit the context, the server refuses or is lost, or a log-prob
   *   is missing or not finite.
   */
  sample(request: SampleRequest): Promise<readonly Completion[]>;
  /** Samples like `sample`, and yields each completion piece by piece. @throws PmpoError as `sample`. */
  stream(request: SampleRequest): AsyncIterable<CompletionPiece>;
  /** log π(y_t | x, y_<t) of each token of a given completion, [T], in nats. @throws PmpoError as `sample`. */
  score(prompt: Int32Array, completion: Int32Array, signal?: AbortSignal): Promise<Float32Array>;
  /** Stops what is running and closes the connections. */
  close(): Promise<void>;
}
