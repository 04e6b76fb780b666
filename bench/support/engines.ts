import { findEngine } from '../../src/engine/detect.js';
import type { EngineName } from '../../src/engine/engine.js';

/** Which engines that are not installed with pmpo a benchmark can include, and why it leaves the others out. */
export function optionalEngines(names: readonly EngineName[], find = findEngine) {
  const found = names.map((name) => ({ name, ...find(name) }));
  return {
    present: found.filter(({ available }) => available).map(({ name }) => name),
    absent: Object.fromEntries(
      found.filter(({ available }) => !available).map(({ name, detail }) => [name, detail]),
    ) as Partial<Record<EngineName, string>>,
  };
}
