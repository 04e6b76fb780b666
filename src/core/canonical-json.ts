/** A value of an object with its keys in order; a 64-bit integer, which JSON does not have, as its digits. */
function canonical(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A text that is the same for values that are the same, in whatever order their keys are. Integers of a Parquet file may be bigint. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, canonical) ?? 'undefined';
}
