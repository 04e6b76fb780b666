import { PmpoError } from '../../core/errors.js';
import type { TokenSequence } from '../trainable-model.js';

/**
 * Ragged sequences as padded batches of a few shapes, so that few functions are compiled. Letters: R rows, T positions.
 */

export interface SequenceBatch {
  readonly rows: number;
  /** Positions, T: one less than the longest sequence has tokens, rounded up. */
  readonly positions: number;
  /** Row i of the batch is sequence `members[i]` of those given; rows from `members.length` on are padding. */
  readonly members: readonly number[];
  /** [R, T] each: all tokens but the last, and those that follow them. */
  readonly tokens: Int32Array;
  readonly next: Int32Array;
}

const lengthStep = 16;
/** Tokens of one batch, at most; what its logits and their gradients take grows with it. */
export const tokensPerBatch = 4096;

/** The next multiple of 16 up to the context's length. */
export function lengthBucket(length: number, contextLength: number): number {
  return Math.min(contextLength, lengthStep * Math.ceil(length / lengthStep));
}

/** The next power of two. */
export function rowBucket(rows: number): number {
  return 2 ** Math.ceil(Math.log2(rows));
}

/** @throws PmpoError naming the first sequence that is empty, too long, or has a token outside of the vocabulary. */
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
        remedy: 'Both need a token at least',
      });
    }
    const length = prompt.length + completion.length;
    if (length > contextLength) {
      throw new PmpoError({
        where,
        what: `${length} tokens do not fit the context of ${contextLength}`,
        remedy: 'Shorten the prompt or the completion',
      });
    }
    for (const token of [...prompt, ...completion]) {
      if (token >= 0 && token < vocabularySize) continue;
      throw new PmpoError({
        where,
        what: `token ${token} is outside of the vocabulary of ${vocabularySize}`,
      });
    }
  }
}

/** Groups sequences of like length: every one is in exactly one batch. */
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

/** Where in a batch's [R, T] the terms of row `row`'s completion stand: from, and up to but without. */
export function completionSpan(
  { positions }: SequenceBatch,
  row: number,
  { prompt, completion }: TokenSequence,
): readonly [number, number] {
  const from = row * positions + prompt.length - 1;
  return [from, from + completion.length];
}

/** [R, T] with each sequence's factors at its completion's positions and 0 elsewhere. @throws PmpoError on a wrong length. */
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
        remedy: 'Give one for each token, or a single one for all',
      });
    }
    out.set(factor, from);
  }
  return out;
}
