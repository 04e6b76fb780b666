import { dependencies, reachable, type Value } from './graph.js';

/** The values of a variable before and after a call that changes it. */
export interface Change {
  readonly before: Value;
  readonly after: Value;
}

/** Writes `updates` into `before` at `indices` (int32), giving `after`, as ONNX's ScatterND does. */
export interface Overwrite {
  readonly indices: Value;
  readonly updates: Value;
}

/**
 * The changes that only overwrite some rows of a variable and whose new value is not used in the graph, by their new value. For
 * these, the graph needs to return only the rows and their indices, so that the cost of writing to a long cache depends on the
 * number of rows written, not on its length.
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
  for (const node of reachable(roots).nodes) dependencies(node).forEach(read);
  const found = new Map<Value, Overwrite>();
  for (const { before, after } of changes) {
    const { node } = after;
    if (node?.operator !== 'ScatterND' || node.attributes.reduction !== undefined) continue;
    const [base, castIndices, updates] = node.inputs;
    const indices = castIndices?.node?.operator === 'Cast' ? castIndices.node.inputs[0] : undefined;
    if (base !== before || readers.get(after) !== 1 || indices?.type !== 'int32') continue;
    found.set(after, { indices, updates: updates! });
  }
  return found;
}
