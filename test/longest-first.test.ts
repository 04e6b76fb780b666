import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { longest } from './longest-first.js';

it('names files that are there', () => {
  expect(longest.filter((path) => !existsSync(new URL(`../${path}`, import.meta.url)))).toEqual([]);
});
