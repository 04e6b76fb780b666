/**
 * Keeps the number of times that each stored item is learned from close to a target, as Reverb's SampleToInsertRatio does
 * (github.com/google-deepmind/reverb): with I items inserted and S samples drawn, samplesPerInsert · I − S stays within
 * `errorBuffer` of its value at the first sample. A learner that is too far ahead waits for actors, and actors that are too
 * far ahead wait for the learner. These are pure functions of the two counts.
 */

export interface SampleToInsertRatioOptions {
  /** Average number of times that an item is drawn. */
  readonly samplesPerInsert: number;
  /** Items that must be there before the first sample is drawn. */
  readonly minimumInserts: number;
  /** Number of samples by which either side may be ahead of the other. */
  readonly errorBuffer: number;
}

/** The limits at which learner or actors have to wait. */
export class SampleToInsertRatio {
  readonly #options: SampleToInsertRatioOptions;
  readonly #offset: number;

  constructor(options: SampleToInsertRatioOptions) {
    this.#options = options;
    this.#offset = options.samplesPerInsert * options.minimumInserts;
  }

  /** Number of samples that may have been drawn once `inserts` items are there. */
  samplesAllowed(inserts: number): number {
    const { samplesPerInsert, minimumInserts, errorBuffer } = this.#options;
    if (inserts < minimumInserts) return 0;
    return Math.max(0, Math.floor(samplesPerInsert * inserts - this.#offset + errorBuffer));
  }

  /** Number of items that may have been inserted once `samples` have been drawn. */
  insertsAllowed(samples: number): number {
    const { samplesPerInsert, errorBuffer } = this.#options;
    return Math.floor((samples + this.#offset + errorBuffer) / samplesPerInsert);
  }

  /** Number of samples due for `inserts` items when neither side is ahead. */
  samplesDue(inserts: number): number {
    return Math.max(0, Math.floor(this.#options.samplesPerInsert * inserts - this.#offset));
  }
}

/** The smallest error buffer with which the two sides cannot wait for each other forever: it has room for a batch and an item. */
export function smallestErrorBuffer(samplesPerInsert: number, batchSize: number): number {
  return Math.ceil((samplesPerInsert + batchSize) / 2);
}
