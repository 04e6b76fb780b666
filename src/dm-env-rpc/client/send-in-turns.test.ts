import { afterEach, expect, it, vi } from 'vitest';
import { sendInTurns } from './send-in-turns.js';

afterEach(() => void vi.restoreAllMocks());

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

it('sends two requests in each turn, in order, and the first of them at once', async () => {
  // A busy machine must not make these turns long.
  vi.spyOn(performance, 'now').mockReturnValue(0);
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
  await nextTurn();
});

it('sends all that wait after a turn in which the program did other work', async () => {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const sent: number[] = [];
  for (let i = 0; i < 9; i++) sendInTurns(() => sent.push(i));
  now = 5;
  await nextTurn();
  expect(sent).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  await nextTurn();
});
