import type { RandomKey } from '../../core/random-keys.js';
import type { Penalties, TokenChoice } from './sampling.js';

/** A request to the scheduler of the embedded model, and the interface for its results. */

/** A request for completions of one prompt. */
export interface Generation extends TokenChoice, Penalties {
  /** Tokens, at least one. */
  readonly prompt: Int32Array;
  /** The number of completions. */
  readonly completions: number;
  /** At least one. */
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly stopTexts: readonly string[];
  /** Includes the end tokens of the model, unless the request ignores them. */
  readonly stopTokens: ReadonlySet<number>;
  /** Completion i is a function of this and i. */
  readonly key: RandomKey;
  /** The number of most likely tokens that are reported with each token. */
  readonly topLogProbs: number;
  /** The same for the prompt's tokens; undefined if their log-probs are not requested. */
  readonly promptLogProbs?: number;
}

/** A token with its log-prob at temperature 1, in nats, and the most likely tokens with theirs. */
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

/** Receives the results of a request, in this order for each completion. The methods must not throw. */
export interface GenerationListener {
  /** The scores of the prompt's tokens without the first; called once, before any token, if requested. */
  prompt?(scores: readonly ScoredToken[]): void;
  token(index: number, token: ScoredToken): void;
  end(index: number, ending: Ending): void;
  /** The request has failed; nothing is called afterwards. */
  fail(error: Error): void;
}
