import { createHash, type Hash } from 'node:crypto';
import type { Columns, TransitionSource } from './source.js';

/** Recognizes a data set, wherever it lies. */

function addNumbers(hash: Hash, values: ArrayLike<number | bigint>): void {
  hash.update(Float64Array.from(values, Number));
}

function addColumns(hash: Hash, columns: Columns): void {
  for (const name of Object.keys(columns).sort()) {
    hash.update(`${name}\n`);
    addNumbers(hash, columns[name]!);
  }
}

/**
 * A digest of a data set: of the transitions and episodes of each of its blocks, and of all numbers of the first block. A copy has the same
 * one, whatever its place; a set that was recorded anew has another.
 * @throws PmpoError as `read` does.
 */
export async function digestOf(source: TransitionSource): Promise<string> {
  const hash = createHash('sha256');
  for (const { transitions, episodes } of source.blocks) hash.update(`${transitions},${episodes}\n`);
  for (const { observations, actions, rewards, terminated } of await source.read(0)) {
    hash.update(`${terminated}\n`);
    addColumns(hash, observations);
    addColumns(hash, actions);
    addNumbers(hash, rewards);
  }
  return hash.digest('hex').slice(0, 16);
}
