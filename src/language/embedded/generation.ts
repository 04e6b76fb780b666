import type { RandomKey } from '../../core/random-keys.js';
import type { Penalties, TokenChoice } from './sampling.js';

/** What is asked of the embedded model's scheduler, and what comes back as it is made. */

export interface Generation extends TokenChoice, Penalties {
  /** Tokens, at least one. */
  readonly prompt: Int32Array;
  /** N. */
  readonly completions: number;
  /** At least one. */
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly stopTexts: readonly string[];
  /** The model's own end tokens among them, unless they are to be ignored. */
  readonly stopTokens: ReadonlySet<number>;
  /** Completion i is a function of this and i. */
  readonly key: RandomKey;
  /** How many of the likeliest tokens are reported with each. */
  readonly topLogProbs: number;
  /** The same of the prompt's tokens; absent: their log-probs are not wanted. */
  readonly promptLogProbs?: number;
}

/** A token and its log-prob at temperature 1, nats, beside the likeliest ones'. */
export interface ScoredToken {
  readonly token: number;
  readonly logProb: number;
  readonly top?: { readonly tokens: readonly number[]; readonly values: readonly number[] };
}

/** Why a completion ended. */
export interface Ending {
  readonly reason: 'stop' | 'length';
  /** The stop token or text. */
  readonly stopToken?: number;
  readonly stopText?: string;
}

/** Called as things happen, in this order for each completion. None of them may throw. */
export interface GenerationListener {
  /** Each prompt token but the first; once, before any token, where asked for. */
  prompt?(scores: readonly ScoredToken[]): void;
  token(index: number, token: ScoredToken): void;
  end(index: number, ending: Ending): void;
  /** Nothing more will come. */
  fail(error: Error): void;
}
