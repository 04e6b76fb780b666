/** Means of named numbers since they were last taken. */
export class Averages {
  #sums = new Map<string, { sum: number; count: number }>();

  add(values: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(values)) {
      const entry = this.#sums.get(name);
      if (entry === undefined) this.#sums.set(name, { sum: value, count: 1 });
      else {
        entry.sum += value;
        entry.count += 1;
      }
    }
  }

  /** Returns the means and starts over. */
  take(): Record<string, number> {
    const means = Object.fromEntries([...this.#sums].map(([name, { sum, count }]) => [name, sum / count]));
    this.#sums = new Map();
    return means;
  }
}
