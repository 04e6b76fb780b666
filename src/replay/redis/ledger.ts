/**
 * Which chunks have been taken in: of each actor the number of its last one. Actors number their chunks 1, 2, 3, …, and
 * Redis keeps their order, so a number says whether a chunk is the next, a repetition, or comes after a gap. Part of
 * the learner's checkpoint: with it, taking in is exactly once whatever Redis or the network repeat. Pure.
 */
export class Ledger {
  #last = new Map<string, number>();

  /**
   * Enters a chunk.
   * @returns `repeated` for one that was taken in before, which must not be taken in again; otherwise `missing`, how many
   * of this actor's chunks before it never came.
   */
  enter(actor: string, sequence: number): { readonly repeated: boolean; readonly missing: number } {
    const last = this.#last.get(actor) ?? 0;
    if (sequence <= last) return { repeated: true, missing: 0 };
    this.#last.set(actor, sequence);
    return { repeated: false, missing: sequence - last - 1 };
  }

  /** Actors that have sent something so far: each start of an actor process counts as one. */
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
