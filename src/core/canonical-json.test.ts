import { expect, it } from 'vitest';
import { canonicalJson } from './canonical-json.js';

it('canonicalJson is the same for the same values, and differs for others', () => {
  expect(canonicalJson({ a: 1, b: [{ c: 2, d: null }] })).toBe(
    canonicalJson({ b: [{ d: null, c: 2 }], a: 1 }),
  );
  expect(canonicalJson([1, 2])).not.toBe(canonicalJson([2, 1]));
  expect(canonicalJson({ id: 2n ** 60n })).toBe(canonicalJson({ id: 2n ** 60n }));
  expect(canonicalJson({ id: 2n ** 60n })).not.toBe(canonicalJson({ id: 2n ** 60n + 1n }));
  expect(canonicalJson(undefined)).toBe('undefined');
});
