import { cpus, loadavg } from 'node:os';

/** How many processes were ready to run in the last minute, on average: on a quiet machine, fewer than it has cores. */
export const load = () => Number(loadavg()[0]!.toPrecision(3));

/** The machine of a benchmark, for its output. @param before the load when the benchmark began. */
export function machine(before: number) {
  return {
    processor: cpus()[0]?.model.trim(),
    cores: cpus().length,
    node: process.version,
    load: { before, after: load() },
  };
}
