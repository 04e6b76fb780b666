import { PmpoError, type ProblemDetails } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import { formatCount } from '../core/format.js';

/** Rows of a data set that cannot be read: they are named, counted and left out. */

/** Thrown while a row is read: the reason why it must be left out. */
export class UnreadableRow extends Error {}

/** @throws UnreadableRow */
export function unreadable(reason: string): never {
  throw new UnreadableRow(reason);
}

const shownReasons = 4;

interface Reason {
  rows: number;
  completions: number;
  readonly first: string;
  readonly details: Pick<ProblemDetails, 'what' | 'remedy'>;
}

/** For example `2 rows and 1 completion`; without the word for rows alone if `short`. */
function counted({ rows, completions }: Pick<Reason, 'rows' | 'completions'>, short: boolean): string {
  if (short && completions === 0) return formatCount(rows);
  const of = (n: number, what: string) => (n === 0 ? [] : [`${formatCount(n)} ${what}${n === 1 ? '' : 's'}`]);
  return [...of(rows, 'row'), ...of(completions, 'completion')].join(' and ');
}

const total = (reasons: readonly Pick<Reason, 'rows' | 'completions'>[]) => ({
  rows: reasons.reduce((sum, { rows }) => sum + rows, 0),
  completions: reasons.reduce((sum, { completions }) => sum + completions, 0),
});

/** The rows that were left out, and the completions of rows that were not, by reason. */
export class LeftOut {
  readonly #reasons = new Map<string, Reason>();

  /**
   * @param where the row's place.
   * @param reason why it is left out: rows with the same reason are counted together.
   * @param details what was wrong with this row and what would be right, for the error if all rows are left out.
   * @param completions the number of completions that are left out of a row or a prompt with several; 0: the row is left out.
   */
  add(
    where: string,
    reason: string,
    details: Pick<ProblemDetails, 'what' | 'remedy'> = { what: reason },
    completions = 0,
  ): void {
    const known = this.#reasons.get(reason) ?? { rows: 0, completions: 0, first: where, details };
    this.#reasons.set(reason, known);
    if (completions === 0) known.rows += 1;
    else known.completions += completions;
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

  /** Rows and completions together. */
  get count(): number {
    const { rows, completions } = total([...this.#reasons.values()]);
    return rows + completions;
  }

  /** For example: `3 left out: 2 because 'chosen' is empty (first at f.jsonl:3), 1 because …`; undefined if there are none. */
  get summary(): string | undefined {
    if (this.count === 0) return undefined;
    const size = ({ rows, completions }: Reason) => rows + completions;
    const reasons = [...this.#reasons].sort(([, a], [, b]) => size(b) - size(a));
    const all = total(reasons.map(([, reason]) => reason));
    const isPlain = all.completions === 0;
    const shown = reasons
      .slice(0, shownReasons)
      .map(
        ([reason, found]) =>
          `${counted(found, isPlain)} because ${foreignText(reason)} (first at ${found.first})`,
      );
    const more = total(reasons.slice(shownReasons).map(([, reason]) => reason));
    if (more.rows + more.completions > 0) shown.push(`${counted(more, isPlain)} for other reasons`);
    return `${counted(all, isPlain)} left out: ${shown.join(', ')}`;
  }

  /** The error of data of which every row was left out: the reason and place of the first. */
  error(remedy?: string): PmpoError {
    const [[, { first, details }]] = this.#reasons;
    const all = total([...this.#reasons.values()]);
    const others = this.count === 1 ? '' : `, and none of the ${counted(all, false)} can be used`;
    return new PmpoError({
      where: first,
      what: `${details.what}${others}`,
      remedy: details.remedy ?? remedy,
    });
  }
}
