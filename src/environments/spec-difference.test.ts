import { describe, expect, it } from 'vitest';
import type { NamedSpecs, TensorSpec } from './environment.js';
import { specDifference } from './spec-difference.js';

const spec = (changes: Partial<TensorSpec> = {}): TensorSpec => ({
  name: 'x',
  shape: [2],
  dtype: 'float32',
  minimum: [0, 1],
  ...changes,
});

describe('specDifference', () => {
  it.each<[string, NamedSpecs]>([
    ['among its observations it lacks x, and has also y', { y: spec({ name: 'y' }) }],
    ['among its observations it has also y', { x: spec(), y: spec({ name: 'y' }) }],
    ["its observation 'x' has the dtype int32, not float32", { x: spec({ dtype: 'int32' }) }],
    ["its observation 'x' has the shape [3], not [2]", { x: spec({ shape: [3] }) }],
    ["its observation 'x' has the minimum 2 of element 1, not 1", { x: spec({ minimum: [0, 2] }) }],
    ["its observation 'x' has the minimum none, not [0,1]", { x: spec({ minimum: undefined }) }],
    ["its observation 'x' has the maximum 5, not none", { x: spec({ maximum: 5 }) }],
  ])('says that %s', (said, observationSpec) => {
    const expected = { observationSpec: { x: spec() }, actionSpec: {} };
    expect(specDifference({ observationSpec, actionSpec: {} }, expected)).toBe(said);
  });

  it('compares actions, too, and finds nothing in equal specs', () => {
    const [own, expected] = [1, 2].map((maximum) => ({
      observationSpec: { x: spec() },
      actionSpec: { push: spec({ maximum }) },
    }));
    expect(specDifference(own, expected)).toBe("its action 'push' has the maximum 1, not 2");
    expect(specDifference(own, own)).toBeUndefined();
  });
});
