/**
 * The number of rows of activations that each part of an update should have. A few hundred rows stay in the processor's second-level
 * cache from one product to the next, and are enough for a product to take much longer than the packing of its weights.
 */
const rowsOfPart = 512;
/** No part has fewer rows. Each part adds the gradients of all weights to their sums, which takes as long for few rows as for many. */
const fewestRows = rowsOfPart / 2;

/**
 * In how many parts an update computes the gradients of B sequences of T positions. It depends on the shape alone, so that results do
 * not depend on the machine.
 * @returns a divisor of B.
 */
export function partsOf([B, T]: readonly [B: number, T: number]): number {
  const distance = (parts: number) => Math.abs(Math.log((B * T) / parts / rowsOfPart));
  let best = 1;
  for (let parts = 2; parts <= B && (B * T) / parts >= fewestRows; parts++) {
    if (B % parts === 0 && distance(parts) < distance(best)) best = parts;
  }
  return best;
}
