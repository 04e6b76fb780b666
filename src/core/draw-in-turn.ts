import { foldIn, permutation, type RandomKey } from './random-keys.js';

/**
 * `count` items from position `from` of an endless sequence in which all items come once, in a random order, then again in
 * another.
 */
export function drawInTurn<T>(items: readonly T[], from: number, count: number, key: RandomKey): T[] {
  const orders = new Map<number, Uint32Array>();
  const orderOf = (round: number): Uint32Array => {
    const order = orders.get(round) ?? permutation(foldIn(key, round), items.length);
    orders.set(round, order);
    return order;
  };
  return Array.from({ length: count }, (_, i) => {
    const position = from + i;
    return items[orderOf(Math.floor(position / items.length))[position % items.length]!]!;
  });
}
