/**
 * Records which chunks have arrived: for each actor the number of its last one. Actors number their chunks 1, 2, 3, … and Redis
 * keeps their order, so that the number shows whether a chunk is the next one, a repetition, or follows a gap. As part of the
 * learner's checkpoint, the ledger makes sure that each chunk counts exactly once, whatever Redis or the network repeat.
 */
export class Ledger {
  #last = new Map<string, number>();

  /**
   * Enters a chunk.
   * @returns `repeated` if it was entered before and must not count again; otherwise `missing`, the number of this actor's
   *   earlier chunks that never arrived.
   */
  enter(actor: string, sequence: number): { readonly repeated: boolean; readonly missing: number } {
    const last = this.#last.get(actor) ?? 0;
    if (sequence <= last) return { repeated: true, missing: 0 };
    this.#last.set(actor, sequence);
    return { repeated: false, missing: sequence - last - 1 };
  }

  /** Number of actors that have sent something so far; each start of an actor process counts as an actor. */
  get actors(): number {
    return this.#last.size;
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#last);
  }

  restore(snapshot: Readonly<Record<string, number>>): void {
    this.#last = new Map(Object.entries(snapshot));
  }
}
