import { PmpoError } from '../../core/errors.js';
import type { TokenSequence } from '../trainable-model.js';

/**
 * Padded batches of sequences. Batches have only a few different shapes, so that few functions are compiled. Shapes: R rows, T
 * positions.
 */

export interface SequenceBatch {
  readonly rows: number;
  /** T: the number of tokens in the longest sequence minus one, rounded up. */
  readonly positions: number;
  /** Row i is sequence `members[i]`; rows from `members.length` on are padding. */
  readonly members: readonly number[];
  /** [R, T] each: all tokens except the last, and the token after each of them. */
  readonly tokens: Int32Array;
  readonly next: Int32Array;
}

const lengthStep = 16;
/** The maximum number of tokens in a batch; the memory of logits and their gradients is proportional to it. */
export const tokensPerBatch = 4096;

/** `length` rounded up to a multiple of 16, but at most the context length. */
export function lengthBucket(length: number, contextLength: number): number {
  return Math.min(contextLength, lengthStep * Math.ceil(length / lengthStep));
}

/** `rows` rounded up to a power of two. */
export function rowBucket(rows: number): number {
  return 2 ** Math.ceil(Math.log2(rows));
}

/** @throws PmpoError that names the first sequence that is empty, too long, or has a token outside of the vocabulary. */
export function checkSequences(
  sequences: readonly TokenSequence[],
  { contextLength, vocabularySize }: { readonly contextLength: number; readonly vocabularySize: number },
): void {
  for (const [i, { prompt, completion }] of sequences.entries()) {
    const where = `sequence ${i}`;
    if (prompt.length === 0 || completion.length === 0) {
      throw new PmpoError({
        where,
        what: `the ${prompt.length === 0 ? 'prompt' : 'completion'} is empty`,
        remedy: 'Both need at least one token',
      });
    }
    const length = prompt.length + completion.length;
    if (length > contextLength) {
      throw new PmpoError({
        where,
        what: `${length} tokens do not fit the context length of ${contextLength}`,
        remedy: 'Shorten the prompt or the completion',
      });
    }
    for (const token of [...prompt, ...completion]) {
      if (token >= 0 && token < vocabularySize) continue;
      throw new PmpoError({
        where,
        what: `token ${token} is outside of the vocabulary of ${vocabularySize} tokens`,
      });
    }
  }
}

/** Puts each sequence into one batch, with sequences of similar length. */
export function batchSequences(sequences: readonly TokenSequence[], contextLength: number): SequenceBatch[] {
  const lengthOf = (i: number) => sequences[i]!.prompt.length + sequences[i]!.completion.length - 1;
  const order = sequences.map((_, i) => i).sort((a, b) => lengthOf(b) - lengthOf(a) || a - b);
  const batches: SequenceBatch[] = [];
  let start = 0;
  while (start < order.length) {
    const positions = lengthBucket(lengthOf(order[start]!), contextLength);
    const most = Math.max(1, 2 ** Math.floor(Math.log2(tokensPerBatch / positions)));
    const members = order.slice(start, start + most);
    batches.push(padded(sequences, members, positions));
    start += members.length;
  }
  return batches;
}

function padded(sequences: readonly TokenSequence[], members: readonly number[], T: number): SequenceBatch {
  const rows = rowBucket(members.length);
  const [tokens, next] = [new Int32Array(rows * T), new Int32Array(rows * T)];
  for (const [row, i] of members.entries()) {
    const { prompt, completion } = sequences[i]!;
    tokens.set(prompt, row * T);
    tokens.set(completion.subarray(0, -1), row * T + prompt.length);
    next.set(prompt.subarray(1), row * T);
    next.set(completion, row * T + prompt.length - 1);
  }
  return { rows, positions: T, members, tokens, next };
}

/** The range of the completion in row `row` of a batch, as indices into [R, T]: the start, and the end (exclusive). */
export function completionSpan(
  { positions }: SequenceBatch,
  row: number,
  { prompt, completion }: TokenSequence,
): readonly [number, number] {
  const from = row * positions + prompt.length - 1;
  return [from, from + completion.length];
}

/**
 * The factors of each sequence at the positions of its completion, and 0 elsewhere, [R, T].
 * @throws PmpoError when the number of factors is not the number of tokens in the completion.
 */
export function spread(
  batch: SequenceBatch,
  sequences: readonly TokenSequence[],
  factors: readonly (number | Float32Array | undefined)[],
): Float32Array {
  const out = new Float32Array(batch.rows * batch.positions);
  for (const [row, i] of batch.members.entries()) {
    const factor = factors[i];
    if (factor === undefined) continue;
    const [from, to] = completionSpan(batch, row, sequences[i]!);
    if (typeof factor === 'number') {
      out.fill(factor, from, to);
      continue;
    }
    if (factor.length !== to - from) {
      throw new PmpoError({
        where: `coefficients of sequence ${i}`,
        what: `${factor.length} numbers for a completion of ${to - from} tokens`,
        remedy: 'Give one for each token, or a single one for all tokens',
      });
    }
    out.set(factor, from);
  }
  return out;
}
