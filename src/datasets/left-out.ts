import { PmpoError, type ProblemDetails } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';

/** Rows of a data set that cannot be read: they are named, counted and left out. */

/** Thrown while a row is read: the reason why it must be left out. */
export class UnreadableRow extends Error {}

/** @throws UnreadableRow */
export function unreadable(reason: string): never {
  throw new UnreadableRow(reason);
}

const count = new Intl.NumberFormat('en-US');
const shownReasons = 4;

/** The rows that were left out, by reason. */
export class LeftOut {
  readonly #reasons = new Map<
    string,
    { count: number; readonly first: string; readonly details: Pick<ProblemDetails, 'what' | 'remedy'> }
  >();

  /**
   * @param where the row's place: a row, or a completion of it, is counted as one.
   * @param reason why it is left out: rows with the same reason are counted together.
   * @param details what was wrong with this row and what would be right, for the error if all rows are left out.
   */
  add(
    where: string,
    reason: string,
    details: Pick<ProblemDetails, 'what' | 'remedy'> = { what: reason },
  ): void {
    const known = this.#reasons.get(reason);
    if (known === undefined) this.#reasons.set(reason, { count: 1, first: where, details });
    else known.count += 1;
  }

  /** The result of `read`; undefined if it found the row unreadable, which is then left out. */
  try<T>(where: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof UnreadableRow)) throw error;
      this.add(where, error.message);
      return undefined;
    }
  }

  get count(): number {
    return [...this.#reasons.values()].reduce((sum, reason) => sum + reason.count, 0);
  }

  /** For example: `3 left out: 2 because 'chosen' is empty (first at f.jsonl:3), 1 because …`; undefined if there are none. */
  get summary(): string | undefined {
    if (this.count === 0) return undefined;
    const reasons = [...this.#reasons].sort(([, a], [, b]) => b.count - a.count);
    const shown = reasons
      .slice(0, shownReasons)
      .map(
        ([reason, { count: n, first }]) =>
          `${count.format(n)} because ${foreignText(reason)} (first at ${first})`,
      );
    const more = reasons.slice(shownReasons).reduce((sum, [, { count: n }]) => sum + n, 0);
    if (more > 0) shown.push(`${count.format(more)} for other reasons`);
    return `${count.format(this.count)} left out: ${shown.join(', ')}`;
  }

  /** The error of data of which every row was left out: the reason and place of the first. */
  error(remedy?: string): PmpoError {
    const [[, { first, details }]] = this.#reasons;
    const all = this.count === 1 ? '' : `, and none of the ${count.format(this.count)} rows can be used`;
    return new PmpoError({ where: first, what: `${details.what}${all}`, remedy: details.remedy ?? remedy });
  }
}
