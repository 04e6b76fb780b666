/**
 * How many rows of activations a part of an update has, about. With a few hundred, they stay in the processor's second-level cache
 * between one product and the next, and a product still takes much longer than packing its weights.
 */
const rowsOfPart = 512;
/** With fewer rows, adding up the weights' gradients would take too large a share of the time. */
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
