import { fillUniform, foldIn, type RandomKey } from '../../core/random-keys.js';

/** Sampling of a token from a row of logits. Shapes: V vocabulary size. */

/** Which tokens can be sampled, and with what probability. */
export interface TokenChoice {
  /** Divides the logits; with 0 the most likely token is chosen. */
  readonly temperature: number;
  /** Only the k most likely tokens; 0 means all. */
  readonly topK: number;
  /** Only the smallest set of most likely tokens with at least this probability; 1 means all. */
  readonly topP: number;
  /** Only tokens with at least this fraction of the probability of the most likely token; 0 means all. */
  readonly minP: number;
}

/** Changes of the logits of tokens that have already occurred. */
export interface Penalties {
  /** Subtracted from the logits of tokens in the completion. */
  readonly presencePenalty: number;
  /** Subtracted from the logits of tokens in the completion, for each occurrence. */
  readonly frequencyPenalty: number;
  /** Divides positive and multiplies negative logits of tokens in prompt or completion; 1 means no penalty. */
  readonly repetitionPenalty: number;
}

/**
 * Applies the repetition penalty, then frequency and presence penalty, in the order of vLLM.
 *
 * @param logits [V]
 * @param prompt tokens
 * @param completion tokens
 * @returns new logits [V], or `logits` itself if there are no penalties
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

/** Lower temperatures choose the most likely token, because dividing by them would overflow. */
const minTemperature = 1e-5;

/** Whether the most likely token is always chosen. */
export function isGreedy({ temperature }: TokenChoice): boolean {
  return temperature < minTemperature;
}

/** The uniform random number that chooses token `t` of completion `index`; a function of key, index and `t`. */
export function tokenUniform(key: RandomKey, index: number, t: number): number {
  return fillUniform(foldIn(foldIn(key, index), t), new Float32Array(1))[0]!;
}

/**
 * log Σ exp(logits), to be subtracted from a logit to get its log-prob at temperature 1.
 * @param logits [V]
 */
export function logNormalizer(logits: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum);
}

/** The most likely token that is not forbidden; the first one of equally likely tokens. */
function mostLikely(logits: Float32Array, forbidden: ReadonlySet<number>): number {
  let best = -1;
  for (let v = 0; v < logits.length; v++) {
    if (forbidden.has(v)) continue;
    if (best < 0 || logits[v]! > logits[best]!) best = v;
  }
  return best;
}

/**
 * Samples a token by inverting the cumulative distribution at `uniform`. Applies temperature, `minP`, `topK` and `topP` in this
 * order, as vLLM does.
 *
 * @param logits [V]
 * @param uniform in (0, 1)
 * @param forbidden tokens that must not be chosen; at least one token is not among them
 */
export function chooseToken(
  logits: Float32Array,
  choice: TokenChoice,
  uniform: number,
  forbidden: ReadonlySet<number>,
): number {
  const best = mostLikely(logits, forbidden);
  if (isGreedy(choice)) return best;
  const { temperature, topK, topP, minP } = choice;
  const weights = new Float64Array(logits.length);
  for (let v = 0; v < logits.length; v++) weights[v] = Math.exp((logits[v]! - logits[best]!) / temperature);
  for (const token of forbidden) weights[token] = 0;
  const V = logits.length;
  if (minP > 0) for (let v = 0; v < V; v++) if (weights[v]! < minP) weights[v] = 0;
  const isCut = (topK > 0 && topK < V) || topP < 1;
  const order = isCut ? mostLikelyFirst(weights, topK > 0 ? topK : V) : undefined;
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

/** The `count` tokens with the largest weights above 0, in descending order; the lower token first if weights are equal. */
function mostLikelyFirst(weights: Float64Array, count: number): number[] {
  const tokens: number[] = [];
  for (let v = 0; v < weights.length; v++) if (weights[v]! > 0) tokens.push(v);
  tokens.sort((a, b) => weights[b]! - weights[a]! || a - b);
  return tokens.slice(0, count);
}

/** The number of tokens, in their order, that together have the share `topP` of the total weight. */
function nucleus(weights: Float64Array, order: readonly number[], topP: number): number {
  const total = order.reduce((sum, v) => sum + weights[v]!, 0);
  let held = 0;
  for (const [i, v] of order.entries()) {
    held += weights[v]!;
    if (held >= topP * total) return i + 1;
  }
  return order.length;
}

/** The k most likely tokens in descending order, with their log-probs in nats. */
export function topLogProbs(
  logits: Float32Array,
  normalizer: number,
  k: number,
): { readonly tokens: number[]; readonly values: number[] } {
  const tokens = Array.from(logits, (_, v) => v).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const first = tokens.slice(0, k);
  return { tokens: first, values: first.map((v) => logits[v]! - normalizer) };
}
