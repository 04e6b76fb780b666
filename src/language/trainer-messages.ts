import { PmpoError } from '../core/errors.js';
import type { Coefficients, SequenceScore as ScoreMessage, Sequence } from '../generated/trainer.js';
import type { SequenceCoefficients, SequenceScore, TokenSequence } from './trainable-model.js';

/** Messages of proto/pmpo/v1/trainer.proto. Shapes: S sequences, T_i tokens of completion i. */

const parts = ['logProb', 'referenceLogProb', 'kl', 'reverseKl'] as const;

export function sequenceMessage({ prompt, completion }: TokenSequence): Sequence {
  return { prompt: Array.from(prompt), completion: Array.from(completion) };
}

export function coefficientsMessage(coefficients: SequenceCoefficients): Coefficients {
  const list = (given: number | Float32Array | undefined) =>
    given === undefined ? [] : typeof given === 'number' ? [given] : Array.from(given);
  const { logProb, kl, reverseKl } = coefficients;
  return { logProb: list(logProb), kl: list(kl), reverseKl: list(reverseKl) };
}

/** @throws PmpoError unless there are S coefficients, each with one number or T_i numbers. */
export function checkCoefficients(
  sequences: readonly TokenSequence[],
  coefficients: readonly SequenceCoefficients[],
): void {
  if (coefficients.length !== sequences.length) {
    throw new PmpoError({
      where: 'coefficients',
      what: `there are ${coefficients.length} for ${sequences.length} sequences`,
      remedy: 'Each sequence needs an entry, which may be empty',
    });
  }
  coefficients.forEach((own, i) => {
    for (const name of ['logProb', 'kl', 'reverseKl'] as const) {
      const given = own[name];
      const length = sequences[i].completion.length;
      if (given instanceof Float32Array && given.length !== length) {
        throw new PmpoError({
          where: `coefficients[${i}].${name}`,
          what: `${given.length} numbers for a completion of ${length} tokens`,
          remedy: 'Give one number for all tokens, or one for each',
        });
      }
    }
  });
}

/** Upper bound of the message size: 5 bytes per token, and 4 bytes for each of 3 coefficients sent and 4 scores returned. */
const maxBytesOf = ({ prompt, completion }: TokenSequence) =>
  64 + 5 * prompt.length + (5 + 12 + 16) * completion.length;

/**
 * Splits sequences into consecutive ranges whose messages stay below a size in both directions. A sequence that is larger by itself
 * gets its own range.
 */
export function splitBySize(
  sequences: readonly TokenSequence[],
  maxBytes: number,
): { readonly start: number; readonly end: number }[] {
  const ranges: { start: number; end: number }[] = [];
  let size = 0;
  sequences.forEach((sequence, i) => {
    const bytes = maxBytesOf(sequence);
    const current = ranges.at(-1);
    if (current !== undefined && size + bytes <= maxBytes) {
      current.end = i + 1;
      size += bytes;
    } else {
      ranges.push({ start: i, end: i + 1 });
      size = bytes;
    }
  });
  // The server refuses an empty batch.
  return ranges.length === 0 ? [{ start: 0, end: 0 }] : ranges;
}

/**
 * The requested parts of the scores of S sequences.
 * @throws PmpoError if a number for a sequence or token is missing or not finite.
 */
export function readScores(
  messages: readonly ScoreMessage[],
  sequences: readonly TokenSequence[],
  requested: { readonly [name in keyof SequenceScore]?: boolean },
  where: string,
): SequenceScore[] {
  if (messages.length !== sequences.length) {
    throw new PmpoError({
      where,
      what: `it returned ${messages.length} scores for ${sequences.length} sequences`,
    });
  }
  return messages.map((message, i) => {
    const wanted = parts.filter((name) => requested[name]);
    return Object.fromEntries(
      wanted.map((name) => {
        const values = Float32Array.from(message[name] ?? []);
        const { length } = sequences[i].completion;
        const fault =
          values.length !== length
            ? `has ${values.length} numbers for ${length} tokens`
            : values.every(Number.isFinite)
              ? undefined
              : 'is not finite';
        if (fault !== undefined) throw new PmpoError({ where, what: `${name} of sequence ${i} ${fault}` });
        return [name, values];
      }),
    );
  });
}
