import { expect, it } from 'vitest';
import { withInfinity } from './results.js';

it('writes values that are not finite in a form that reads back', () => {
  const values = [1.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];
  const text = JSON.stringify({ values }, withInfinity);
  expect(text).toBe('{"values":[1.5,"Infinity","-Infinity","NaN"]}');
  expect((JSON.parse(text) as { values: (number | string)[] }).values.map(Number)).toEqual(values);
});
