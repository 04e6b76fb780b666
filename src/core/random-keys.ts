import { getOrCreate } from './maps.js';

/**
 * Explicit random keys, as in JAX: a key is a value, drawing from it does not change it, and equal keys give equal numbers on
 * every machine. A long job derives a key for each use (`foldIn(key, step)`), so that it can resume without generator state.
 */

/** A 64-bit key as two unsigned 32-bit words. */
export interface RandomKey {
  readonly high: number;
  readonly low: number;
}

/** murmur3's 32-bit finaliser: every input bit reaches every output bit. */
function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function absorb({ high, low }: RandomKey, word: number): RandomKey {
  const a = mix(high ^ mix((word ^ 0x9e3779b9) >>> 0));
  const b = mix((low + Math.imul(a, 0x85ebca77) + word) >>> 0);
  return { high: mix((a ^ b) >>> 0), low: mix((b + 0x165667b1) >>> 0) };
}

function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h);
}

/** The key of a seed (a non-negative integer below 2^53). */
export function randomKey(seed: number): RandomKey {
  const low = seed >>> 0;
  const high = Math.floor(seed / 2 ** 32) >>> 0;
  return absorb(absorb({ high: 0x243f6a88, low: 0x85a308d3 }, low), high);
}

/** Derives a key from `key` and a label or a counter (a non-negative integer below 2^53); different data give independent keys. */
export function foldIn(key: RandomKey, data: number | string): RandomKey {
  if (typeof data === 'string') return absorb(absorb(key, hashText(data)), data.length);
  return absorb(absorb(key, data >>> 0), Math.floor(data / 2 ** 32) >>> 0);
}

/** An unsigned 32-bit integer that depends on `key` alone, such as the seed of a simulator. */
export function randomSeed(key: RandomKey): number {
  return absorb(key, 0x5eed).low;
}

/** The generator xoshiro128** (Blackman and Vigna), seeded from a key; each call returns an unsigned 32-bit integer. */
export function bitGenerator(key: RandomKey): () => number {
  let { high: a, low: b } = absorb(key, 1);
  let { high: c, low: d } = absorb(key, 2);
  if ((a | b | c | d) === 0) a = 1;
  return () => {
    let r = Math.imul(b, 5);
    r = Math.imul((r << 7) | (r >>> 25), 9);
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    return r >>> 0;
  };
}

/** Fills `out` with uniform numbers in the open interval (0, 1) and returns it. */
export function fillUniform(key: RandomKey, out: Float32Array): Float32Array {
  const next = bitGenerator(key);
  // 23 bits and half a step: rounding to float32 gives neither 0 nor 1, so log(u) is finite.
  for (let i = 0; i < out.length; i++) out[i] = ((next() >>> 9) + 0.5) * 2 ** -23;
  return out;
}

/** Fills `out` with standard normal numbers (Marsaglia's polar method) and returns it. */
export function fillNormal(key: RandomKey, out: Float32Array): Float32Array {
  const next = bitGenerator(key);
  for (let i = 0; i < out.length; i += 2) {
    let u: number;
    let v: number;
    let s: number;
    do {
      u = next() * 2 ** -31 - 1;
      v = next() * 2 ** -31 - 1;
      s = u * u + v * v;
    } while (s >= 1 || s === 0);
    const scale = Math.sqrt((-2 * Math.log(s)) / s);
    out[i] = u * scale;
    if (i + 1 < out.length) out[i + 1] = v * scale;
  }
  return out;
}

/** Fills `out` with integers drawn uniformly from [0, bound) (bound at most 2^32) and returns it. */
export function fillIntegers(key: RandomKey, bound: number, out: Uint32Array): Uint32Array {
  const next = bitGenerator(key);
  for (let i = 0; i < out.length; i++) out[i] = Math.floor((next() / 2 ** 32) * bound);
  return out;
}

/** The integers from 0 to length − 1 in a random order (Fisher and Yates). */
export function permutation(key: RandomKey, length: number): Uint32Array {
  const next = bitGenerator(key);
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const other = Math.floor((next() / 2 ** 32) * (i + 1));
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return order;
}

/**
 * `count` items from position `from` of an endless sequence in which every item occurs once, in a random order, then once more
 * in another random order, and so on. Any part of the sequence can be drawn without drawing what comes before it.
 */
export function drawInTurn<T>(items: readonly T[], from: number, count: number, key: RandomKey): T[] {
  const orders = new Map<number, Uint32Array>();
  const orderOf = (round: number): Uint32Array =>
    getOrCreate(orders, round, () => permutation(foldIn(key, round), items.length));
  return Array.from({ length: count }, (_, i) => {
    const position = from + i;
    return items[orderOf(Math.floor(position / items.length))[position % items.length]];
  });
}
