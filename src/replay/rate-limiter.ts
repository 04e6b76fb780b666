/**
 * How often each stored item is learned from, held near one number from both sides, as Reverb's SampleToInsertRatio
 * does (github.com/google-deepmind/reverb): with I items inserted and S samples drawn, samplesPerInsert · I − S stays within
 * `errorBuffer` of where it stood when the first sample could be drawn. A learner that is too far ahead waits for
 * actors, and actors that are too far ahead wait for the learner. Pure: counts in, counts out.
 */

export interface SampleToInsertRatioOptions {
  /** How often an item is drawn, on average. */
  readonly samplesPerInsert: number;
  /** Items before the first sample is drawn. */
  readonly minimumInserts: number;
  /** Samples by which either side may be ahead of the other. */
  readonly errorBuffer: number;
}

export class SampleToInsertRatio {
  readonly #options: SampleToInsertRatioOptions;
  readonly #offset: number;

  constructor(options: SampleToInsertRatioOptions) {
    this.#options = options;
    this.#offset = options.samplesPerInsert * options.minimumInserts;
  }

  /** Samples that may be drawn in all once `inserts` items are there. */
  samplesAllowed(inserts: number): number {
    const { samplesPerInsert, minimumInserts, errorBuffer } = this.#options;
    if (inserts < minimumInserts) return 0;
    return Math.max(0, Math.floor(samplesPerInsert * inserts - this.#offset + errorBuffer));
  }

  /** Items that may be inserted in all once `samples` have been drawn. */
  insertsAllowed(samples: number): number {
    const { samplesPerInsert, errorBuffer } = this.#options;
    return Math.floor((samples + this.#offset + errorBuffer) / samplesPerInsert);
  }

  /** Samples that `inserts` items are to be learned from with, neither side ahead. */
  samplesDue(inserts: number): number {
    return Math.max(0, Math.floor(this.#options.samplesPerInsert * inserts - this.#offset));
  }
}

/** The smallest error buffer with which neither side can wait for the other for ever: one batch and one item fit in. */
export function smallestErrorBuffer(samplesPerInsert: number, batchSize: number): number {
  return Math.ceil((samplesPerInsert + batchSize) / 2);
}
