import { PmpoError } from '../core/errors.js';
import type { Coefficients, SequenceScore as ScoreMessage, Sequence } from '../generated/trainer.js';
import type { SequenceCoefficients, SequenceScore, TokenSequence } from './trainable-model.js';

/** What goes over the wire of proto/pmpo/v1/trainer.proto, and back. Letters: S sequences, T_i tokens of completion i. */

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

/** @throws PmpoError when there are not S of them, or one has neither one number nor T_i. */
export function checkCoefficients(
  sequences: readonly TokenSequence[],
  coefficients: readonly SequenceCoefficients[],
): void {
  if (coefficients.length !== sequences.length) {
    throw new PmpoError({
      where: 'coefficients',
      what: `there are ${coefficients.length} for ${sequences.length} sequences`,
      remedy: 'Each sequence needs an entry, if only an empty one',
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
          remedy: 'Give one number for all of its tokens, or one for each',
        });
      }
    }
  });
}

/** At most: 5 bytes for a number of 32 bits, three coefficients there and four scores back of 4 bytes each. */
const bytesOf = ({ prompt, completion }: TokenSequence) =>
  64 + 5 * prompt.length + (5 + 12 + 16) * completion.length;

/**
 * Ranges of sequences whose messages stay below a size, either way; one that is larger alone is alone.
 * @param largest bytes
 */
export function inParts(
  sequences: readonly TokenSequence[],
  largest: number,
): { readonly start: number; readonly end: number }[] {
  const ranges: { start: number; end: number }[] = [];
  let size = 0;
  sequences.forEach((sequence, i) => {
    const bytes = bytesOf(sequence);
    const current = ranges.at(-1);
    if (current !== undefined && size + bytes <= largest) {
      current.end = i + 1;
      size += bytes;
    } else {
      ranges.push({ start: i, end: i + 1 });
      size = bytes;
    }
  });
  // None at all is for the server to refuse.
  return ranges.length === 0 ? [{ start: 0, end: 0 }] : ranges;
}

/**
 * The scores of sequences, with exactly what was asked for.
 * @throws PmpoError when the answer has not one for each sequence and token, or a number is not finite.
 */
export function readScores(
  messages: readonly ScoreMessage[],
  sequences: readonly TokenSequence[],
  asked: { readonly [name in keyof SequenceScore]?: boolean },
  where: string,
): SequenceScore[] {
  if (messages.length !== sequences.length) {
    throw new PmpoError({
      where,
      what: `it answers with ${messages.length} scores for ${sequences.length} sequences`,
    });
  }
  return messages.map((message, i) => {
    const wanted = parts.filter((name) => asked[name]);
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
