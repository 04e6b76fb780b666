import { expect, it } from 'vitest';
import { sendInTurns } from './send-in-turns.js';

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

it('sends two requests in each turn, in order, and the first of them at once', async () => {
  const sent: number[] = [];
  for (let i = 0; i < 5; i++) sendInTurns(() => sent.push(i));
  expect(sent).toEqual([0, 1]);
  await nextTurn();
  expect(sent).toEqual([0, 1, 2, 3]);
  // A request that is made later does not overtake one that waits.
  sendInTurns(() => sent.push(5));
  await nextTurn();
  expect(sent).toEqual([0, 1, 2, 3, 4, 5]);
  await nextTurn();
  sendInTurns(() => sent.push(6));
  expect(sent).toEqual([0, 1, 2, 3, 4, 5, 6]);
});
