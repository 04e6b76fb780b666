import { resolve } from 'node:path';
import { isGroup, type KeyPath, valueAt } from '../core/key-path.js';

/** Keys whose values are paths of files. */

/** The keys that name files in a group of TLS settings. */
export function tlsFiles(group: KeyPath): KeyPath[] {
  return ['ca', 'certificate', 'key'].map((key) => [...group, key]);
}

/**
 * A copy of `values` in which the paths at `fileKeys` are absolute, so that the configuration means the same wherever it is
 * stored. Keys that are absent are skipped.
 * @param folderOf the folder from which a relative path at a key is resolved.
 */
export function withAbsolutePaths<T>(
  values: T,
  fileKeys: readonly KeyPath[],
  folderOf: (path: KeyPath) => string,
): T {
  const copy = structuredClone(values);
  for (const path of fileKeys) {
    const group = valueAt(copy, path.slice(0, -1));
    const key = String(path.at(-1));
    if (isGroup(group) && typeof group[key] === 'string') group[key] = resolve(folderOf(path), group[key]);
  }
  return copy;
}
