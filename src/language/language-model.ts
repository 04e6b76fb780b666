import type { Tokenizer } from './tokenizer.js';

/**
 * What samples completions and scores them: a server elsewhere, or the embedded model behind the same wire. Letters: N
 * completions per prompt, T tokens of one of them, V vocabulary.
 */

export interface ModelInfo {
  /** As the server calls it. */
  readonly name: string;
  /** V. */
  readonly vocabularySize: number;
  /** Prompt and completion together, in tokens. */
  readonly contextLength: number;
  /** Tokens that end a completion. */
  readonly endTokens: readonly number[];
  readonly beginToken?: number;
}

/** How completions are drawn. What is absent is at its neutral value: temperature 1, every token possible. */
export interface SamplingSettings {
  readonly maxTokens: number;
  readonly minTokens?: number;
  /** 0 takes the likeliest token at each step. */
  readonly temperature?: number;
  /** The smallest set of tokens that holds this much probability is drawn from; 1: all. */
  readonly topP?: number;
  /** The k likeliest are drawn from; 0: all. */
  readonly topK?: number;
  /** Tokens with at least this share of the likeliest one's probability are drawn from; 0: all. */
  readonly minP?: number;
  /** What is taken from the logits of the tokens that the completion has already, −2 to 2. */
  readonly presencePenalty?: number;
  /** The same, for each time that the completion has them. */
  readonly frequencyPenalty?: number;
  /** By what positive logits of tokens in prompt or completion are divided, and negative ones multiplied; 1: not. */
  readonly repetitionPenalty?: number;
  /** Texts that end a completion; they are not part of it. */
  readonly stop?: readonly string[];
  /** Tokens that do, beside the model's own. */
  readonly stopTokens?: readonly number[];
  /** The model's own end tokens do not end it. */
  readonly ignoreEnd?: boolean;
}

export interface SampleRequest extends SamplingSettings {
  /** Tokens, at least one. */
  readonly prompt: Int32Array;
  /** N. */
  readonly completions: number;
  /** The same seed gives the same completions on the same server; absent: whatever the server does. */
  readonly seed?: number;
  /** Whether log-probs are wanted; default: true. */
  readonly logProbs?: boolean;
  /** Aborted: the server is told, and the promise is rejected. */
  readonly signal?: AbortSignal;
}

/** `stop`: the model's end token or a stop text. `length`: cut by `maxTokens` or the context. */
export type FinishReason = 'stop' | 'length';

export interface Completion {
  /** [T], the end token included where the model chose one. */
  readonly tokens: Int32Array;
  /** Without special tokens. */
  readonly text: string;
  /** log π(y_t | x, y_<t) of each token, nats, [T]; absent where it was not asked for. */
  readonly logProbs?: Float32Array;
  readonly finishReason: FinishReason;
}

/** A piece of a completion that is under way. */
export interface CompletionPiece {
  /** Which of the N. */
  readonly index: number;
  readonly tokens: Int32Array;
  readonly logProbs?: Float32Array;
  /** In the last piece. */
  readonly finishReason?: FinishReason;
}

export interface LanguageModel {
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  /**
   * N completions of one prompt, in the order of their indices.
   * @throws PmpoError when the prompt does not fit the context, the server refuses or is lost, or a log-prob is missing or
   *   not finite.
   */
  sample(request: SampleRequest): Promise<readonly Completion[]>;
  /** The same as it is made. */
  stream(request: SampleRequest): AsyncIterable<CompletionPiece>;
  /** log π(y_t | x, y_<t) of a given completion, nats, [T]. @throws PmpoError as `sample`. */
  score(prompt: Int32Array, completion: Int32Array, signal?: AbortSignal): Promise<Float32Array>;
  close(): Promise<void>;
}
