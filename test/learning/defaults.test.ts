import { expect, test } from 'vitest';
import { mean } from '../../src/core/statistics.js';
import { createSimulator } from '../../src/simulators/registry.js';
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

test('cartpole_swingup is being learned', { timeout: 240_000 }, async () => {
  // A policy that has learned nothing stays below 80 (results/control, β = 0); one of 50,000 steps ends above 800.
  const notices: string[] = [];
  const returns = await trainByDefault({
    connect: () => createSimulator({ simulator: 'cartpole_swingup' }),
    steps: 10_000,
    episodes: 4,
    onNotice: (message) => notices.push(message),
  });
  expect(mean(returns)).toBeGreaterThan(120);
  expect(notices.filter((message) => message.startsWith('Warning'))).toEqual([]);
});
