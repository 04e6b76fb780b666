/** Means of named numbers over the updates since the last look. */
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

  /** The means, and a fresh start. */
  take(): Record<string, number> {
    const means = Object.fromEntries([...this.#sums].map(([name, { sum, count }]) => [name, sum / count]));
    this.#sums = new Map();
    return means;
  }
}
