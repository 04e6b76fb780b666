import { reachable, type Value } from './graph.js';

/** The values before and after a call of a variable that it changes, where both are known to the graph. */
export interface Change {
  readonly before: Value;
  readonly after: Value;
}

/** What makes `after` of `before`: at `indices`, which is int32, stands what is in `updates`. As ONNX's ScatterND. */
export interface Overwrite {
  readonly indices: Value;
  readonly updates: Value;
}

/**
 * Which changes overwrite a variable in places and do nothing else: the new value is the old one but for these places, and
 * nobody in the graph looks at it. Then the places alone need to leave the graph, and a long cache costs no more than what is
 * written to it.
 */
export function overwrites(
  changes: readonly Change[],
  roots: readonly Value[],
): ReadonlyMap<Value, Overwrite> {
  const readers = new Map<Value, number>();
  const read = (value: Value | undefined): void => {
    if (value !== undefined) readers.set(value, (readers.get(value) ?? 0) + 1);
  };
  roots.forEach(read);
  for (const { inputs } of reachable(roots).nodes) inputs.forEach(read);
  const found = new Map<Value, Overwrite>();
  for (const { before, after } of changes) {
    const { node } = after;
    if (node?.operator !== 'ScatterND' || node.attributes.reduction !== undefined) continue;
    const [base, places, updates] = node.inputs;
    const indices = places?.node?.operator === 'Cast' ? places.node.inputs[0] : undefined;
    if (base !== before || readers.get(after) !== 1 || indices?.type !== 'int32') continue;
    found.set(after, { indices, updates: updates! });
  }
  return found;
}
