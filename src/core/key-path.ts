/** The place of a key in nested settings: `['operator', 'alpha']`, `['plugins', 0]`. */
export type KeyPath = readonly (string | number)[];

/** A path as people write it: `operator.alpha`, `plugins[0]`. */
export function formatPath(path: KeyPath): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('');
}

/** True for an object that is not an array: what YAML calls a mapping. */
export function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at `path`, or undefined if there is none. */
export function valueAt(values: unknown, path: KeyPath): unknown {
  let value = values;
  for (const key of path) {
    if (Array.isArray(value)) value = value[Number(key)];
    else if (isGroup(value) && Object.hasOwn(value, key)) value = value[key];
    else return undefined;
  }
  return value;
}
