import { expect, test } from 'vitest';
import { mean } from '../../src/core/statistics.js';
import { catchGame } from '../support/catch-game.js';
import { trainByDefault } from '../support/train-by-default.js';

/**
 * Jobs that name their environment and nothing else, shorter than those of `npm run bench defaults`, whose table says what three seeds of
 * each task reach.
 */

test('Catch is learned', { timeout: 240_000 }, async () => {
  // A random paddle has a return of about −0.8. After so few steps one or two columns may not be known yet.
  const notices: string[] = [];
  const returns = await trainByDefault({
    connect: async () => catchGame(),
    steps: 10_000,
    episodes: 40,
    onNotice: (message) => notices.push(message),
  });
  expect(mean(returns)).toBeGreaterThan(0.3);
  expect(notices.filter((message) => message.startsWith('Warning'))).toEqual([]);
});
