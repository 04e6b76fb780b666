import { fillUniform, foldIn, type RandomKey } from '../../core/random-keys.js';

/** How one token is drawn from a row of logits. Letters: V vocabulary. */

export interface TokenChoice {
  /** 0: the likeliest token. */
  readonly temperature: number;
  /** The k likeliest only; 0: all. */
  readonly topK: number;
  /** The smallest set that holds this much probability only; 1: all. */
  readonly topP: number;
  /** Tokens with at least this share of the likeliest one's probability only; 0: all. */
  readonly minP: number;
}

/** What changes logits by the tokens that there are already. */
export interface Penalties {
  /** Taken from the logits of tokens in the completion. */
  readonly presencePenalty: number;
  /** Taken from them for each time that they are in it. */
  readonly frequencyPenalty: number;
  /** Positive logits of tokens in prompt or completion are divided by it, negative ones multiplied; 1: not. */
  readonly repetitionPenalty: number;
}

/**
 * Logits as they are drawn from, [V]: repetition first, then frequency and presence, as vLLM does. Where there are no penalties,
 * the array itself; else a new one.
 *
 * @param prompt tokens
 * @param completion tokens
 */
export function penalized(
  logits: Float32Array,
  { presencePenalty, frequencyPenalty, repetitionPenalty }: Penalties,
  prompt: Iterable<number>,
  completion: Iterable<number>,
): Float32Array {
  if (presencePenalty === 0 && frequencyPenalty === 0 && repetitionPenalty === 1) return logits;
  const changed = logits.slice();
  const counts = new Map<number, number>();
  for (const token of completion) counts.set(token, (counts.get(token) ?? 0) + 1);
  for (const token of new Set([...prompt, ...counts.keys()])) {
    changed[token]! *= changed[token]! > 0 ? 1 / repetitionPenalty : repetitionPenalty;
  }
  for (const [token, count] of counts) changed[token]! -= frequencyPenalty * count + presencePenalty;
  return changed;
}

/** Below this, sampling is taking the likeliest: dividing by less overflows. */
const greedyBelow = 1e-5;

export function isGreedy({ temperature }: TokenChoice): boolean {
  return temperature < greedyBelow;
}

/** The uniform number by which token `t` of completion `index` is chosen: a function of these three and nothing else. */
export function tokenUniform(key: RandomKey, index: number, t: number): number {
  return fillUniform(foldIn(foldIn(key, index), t), new Float32Array(1))[0]!;
}

/**
 * Log-probs of tokens, nats, at temperature 1.
 * @param logits [V]
 * @returns log Σ exp(logits): what is to be subtracted from a logit.
 */
export function logNormalizer(logits: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum);
}

/** The likeliest token, the first of equals, among those that are not forbidden. */
function likeliest(logits: Float32Array, forbidden: ReadonlySet<number>): number {
  let best = -1;
  for (let v = 0; v < logits.length; v++) {
    if (forbidden.has(v)) continue;
    if (best < 0 || logits[v]! > logits[best]!) best = v;
  }
  return best;
}

/**
 * A token drawn by inverting the cumulative distribution at `uniform`: by temperature, then among the likeliest by `minP`,
 * `topK` and `topP`, in this order, as vLLM does.
 *
 * @param logits [V]
 * @param uniform in (0, 1)
 * @param forbidden tokens that must not be drawn; not all of them
 */
export function chooseToken(
  logits: Float32Array,
  choice: TokenChoice,
  uniform: number,
  forbidden: ReadonlySet<number>,
): number {
  const best = likeliest(logits, forbidden);
  if (isGreedy(choice)) return best;
  const { temperature, topK, topP, minP } = choice;
  const weights = new Float64Array(logits.length);
  for (let v = 0; v < logits.length; v++) weights[v] = Math.exp((logits[v]! - logits[best]!) / temperature);
  for (const token of forbidden) weights[token] = 0;
  const V = logits.length;
  if (minP > 0) for (let v = 0; v < V; v++) if (weights[v]! < minP) weights[v] = 0;
  const isCut = (topK > 0 && topK < V) || topP < 1;
  const order = isCut ? likeliestFirst(weights, topK > 0 ? topK : V) : undefined;
  const count = order === undefined ? V : topP < 1 ? nucleus(weights, order, topP) : order.length;
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[order?.[i] ?? i]!;
  let left = uniform * total;
  let chosen = best;
  for (let i = 0; i < count; i++) {
    const v = order?.[i] ?? i;
    if (weights[v]! === 0) continue;
    chosen = v;
    left -= weights[v]!;
    if (left <= 0) break;
  }
  return chosen;
}

/** Tokens of weight above 0, heaviest first, the lower number first among equals; at most `count`. */
function likeliestFirst(weights: Float64Array, count: number): number[] {
  const tokens: number[] = [];
  for (let v = 0; v < weights.length; v++) if (weights[v]! > 0) tokens.push(v);
  tokens.sort((a, b) => weights[b]! - weights[a]! || a - b);
  return tokens.slice(0, count);
}

/** How many of the ordered tokens hold the share `topP` of their weight together. */
function nucleus(weights: Float64Array, order: readonly number[], topP: number): number {
  const total = order.reduce((sum, v) => sum + weights[v]!, 0);
  let held = 0;
  for (const [i, v] of order.entries()) {
    held += weights[v]!;
    if (held >= topP * total) return i + 1;
  }
  return order.length;
}

/** The k likeliest tokens, likeliest first, with their log-probs, nats. */
export function topLogProbs(
  logits: Float32Array,
  normalizer: number,
  k: number,
): { readonly tokens: number[]; readonly values: number[] } {
  const tokens = Array.from(logits, (_, v) => v).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const first = tokens.slice(0, k);
  return { tokens: first, values: first.map((v) => logits[v]! - normalizer) };
}
