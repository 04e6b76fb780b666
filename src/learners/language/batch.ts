import type { ChatMessage } from '../../core/chat.js';
import type { FinishReason } from '../../language/language-model.js';

/** The data of an update. Shapes: B contexts (prompts), N samples (completions) for each, T tokens. */

/** A context: what the model completes. */
export interface Prompt {
  /** The prompt for a person to read: of a chat, the last user message. */
  readonly text: string;
  /** All messages, if the prompt is a chat. */
  readonly messages?: readonly ChatMessage[];
  /** The tools that the chat template is told of. */
  readonly tools?: readonly unknown[];
  /** Other variables of the chat template. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
  readonly tokens: Int32Array;
  /** Tokens at which a sampled completion ends, in addition to the model's end tokens: the end of a chat's turn. */
  readonly stopTokens?: readonly number[];
  /** The row of the data set that the prompt comes from. */
  readonly row: Readonly<Record<string, unknown>>;
}

/** A completion with its evaluation. */
export interface EvaluatedSample {
  readonly text: string;
  /** [T], T ≥ 1. */
  readonly tokens: Int32Array;
  readonly finishReason: FinishReason;
  /** f(x, y). Absent if the completion could not be evaluated; nothing is learned from it then. */
  readonly evaluation?: number;
  /** log π(y_t | x, y_<t) as the sampler reported it, [T]. */
  readonly samplerLogProbs?: Float32Array;
}

/** A context with its completions, at most N. */
export interface EvaluatedContext {
  readonly prompt: Prompt;
  readonly completions: readonly EvaluatedSample[];
}

/** A batch of B contexts. */
export type LanguageBatch = readonly EvaluatedContext[];

/** A source of batches: completions that are sampled and evaluated, or a data set. */
export interface BatchSource {
  /** Batch number `index`, the same at every call (as far as the server that samples is deterministic). */
  batch(index: number, signal?: AbortSignal): Promise<LanguageBatch>;
}
