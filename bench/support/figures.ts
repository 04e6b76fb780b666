/** Figures as benchmarks print them. */

/** Rounds to a number of digits that count. */
export function round(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}
