/**
 * Sends a few requests in each turn of the event loop, in order. Node writes to its sockets at the end of a turn. If a program wrote all
 * the requests that it makes at once in one turn, the simulators would idle until the last one is written, and the program would then idle
 * until they answer. So the first requests are on their way while others are being written.
 */

/** Requests of one turn. Over 16 streams, 1, 2 and 4 were alike, and all in one turn took about a fifth longer. */
const requestsOfTurn = 2;
/** After a turn that took longer than this, in milliseconds, all requests are sent: the program does other work, which would delay each. */
const longTurn = 2;

const waiting: (() => void)[] = [];
let sent = 0;
let isScheduled = false;

/** Calls `send` now, or in a later turn, after all that wait. */
export function sendInTurns(send: () => void): void {
  waiting.push(send);
  sendUpTo(requestsOfTurn);
}

function sendUpTo(count: number): void {
  while (sent < count && waiting.length > 0) {
    sent += 1;
    waiting.shift()!();
  }
  if (isScheduled) return;
  isScheduled = true;
  const scheduledAt = performance.now();
  setImmediate(() => {
    isScheduled = false;
    sent = 0;
    const isLong = performance.now() - scheduledAt > longTurn;
    if (waiting.length > 0) sendUpTo(isLong ? Number.POSITIVE_INFINITY : requestsOfTurn);
  });
}
