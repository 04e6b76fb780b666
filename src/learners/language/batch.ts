import type { ChatMessage } from '../../core/chat.js';
import type { FinishReason } from '../../language/language-model.js';

/**
 * What an update learns from. Letters: B contexts (prompts), N samples (completions) per context, T tokens.
 */

/** A context. */
export interface Prompt {
  /** As a person reads it: a chat's last user message. */
  readonly text: string;
  /** The whole of it where it is a chat. */
  readonly messages?: readonly ChatMessage[];
  readonly tokens: Int32Array;
  /** The whole row that it came from. */
  readonly row: Readonly<Record<string, unknown>>;
}

/** A completion and what was said of it. */
export interface JudgedCompletion {
  readonly text: string;
  /** [T], T ≥ 1. */
  readonly tokens: Int32Array;
  readonly finishReason: FinishReason;
  /** f(x, y); absent: it could not be judged, and nothing is learned from it. */
  readonly evaluation?: number;
  /** log π(y_t | x, y_<t) as its sampler gave it, [T]. */
  readonly samplerLogProbs?: Float32Array;
}

/** A context with what was sampled for it: N completions at most. */
export interface JudgedContext {
  readonly prompt: Prompt;
  readonly completions: readonly JudgedCompletion[];
}

/** B contexts. */
export type LanguageBatch = readonly JudgedContext[];

/** Where batches come from: sampled completions, or a data set. */
export interface BatchSource {
  /** Batch number `index`, the same whenever it is asked for (as far as its server can repeat itself). */
  batch(index: number, signal?: AbortSignal): Promise<LanguageBatch>;
}
