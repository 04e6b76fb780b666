import { reachable, type Value } from './graph.js';

/** The values before and after a call of the variables that it changes, where they are known to the graph. */
export interface Change {
  readonly before: Value;
  readonly after: Value;
}

/**
 * Which changes may be made in the variable's own buffer: where the new value is the old one with some places overwritten, and
 * nothing else looks at the old one. ONNX Runtime's scatter copies nothing when both are the same memory, so a long cache
 * costs no more than what is written to it.
 */
export function changesInPlace(changes: readonly Change[], roots: readonly Value[]): ReadonlySet<Value> {
  const readers = new Map<Value, number>();
  const read = (value: Value | undefined): void => {
    if (value !== undefined) readers.set(value, (readers.get(value) ?? 0) + 1);
  };
  roots.forEach(read);
  for (const { inputs } of reachable(roots).nodes) inputs.forEach(read);
  return new Set(
    changes
      .filter(
        ({ before, after }) =>
          after.node?.operator === 'ScatterND' &&
          after.node.inputs[0] === before &&
          readers.get(before) === 1 &&
          // A value that leaves under a second name would be copied to it.
          roots.filter((root) => root === after).length === 1,
      )
      .map(({ after }) => after),
  );
}
