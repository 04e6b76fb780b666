import { cpus, loadavg } from 'node:os';
import { round } from './figures.js';

/** How many processes were ready to run in the last minute, on average: on a quiet machine, fewer than it has cores. */
export const load = () => round(loadavg()[0]!, 3);

/** The machine of a benchmark, for its output. @param before the load when the benchmark began. */
export function machine(before: number) {
  return {
    processor: cpus()[0]?.model.trim(),
    cores: cpus().length,
    node: process.version,
    load: { before, after: load() },
  };
}
