import { formatPath, isGroup, type KeyPath, valueAt } from '../core/key-path.js';
import type { Problem } from '../core/schema-problems.js';

/** Keys of older versions and what each is called now. An entry stays here for as long as files with the old key exist. */
const renamedKeys: readonly (readonly [before: KeyPath, now: KeyPath])[] = [
  [
    ['environment', 'actors'],
    ['environment', 'numEnvs'],
  ],
  [
    ['environment', 'worldsPerStream'],
    ['environment', 'envsPerStream'],
  ],
  [
    ['replay', 'steps'],
    ['replay', 'nStep'],
  ],
  [
    ['language', 'dataset', 'end'],
    ['language', 'dataset', 'endToken'],
  ],
];

/** One problem for each old key in `values`, naming the new key. */
export function renamedKeyProblems(values: unknown): Problem[] {
  return renamedKeys
    .filter(([before]) => valueAt(values, before) !== undefined)
    .map(([before, now]) => ({ path: before, what: `this key is now ${formatPath(now)}` }));
}

/**
 * A copy of `values` in which every old key has its new name. Configurations that a run of an older version left in its
 * folder are read this way, so that such a run can be resumed and evaluated; what a person writes is refused instead.
 */
export function withCurrentKeys(values: Record<string, unknown>): Record<string, unknown> {
  const copy = structuredClone(values);
  for (const [before, now] of renamedKeys) {
    const value = valueAt(copy, before);
    // An old and its new key share their group, which exists if the old key does.
    const group = valueAt(copy, before.slice(0, -1));
    if (value === undefined || !isGroup(group)) continue;
    delete group[String(before.at(-1))];
    group[String(now.at(-1))] ??= value;
  }
  return copy;
}
