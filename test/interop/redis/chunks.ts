import { expect } from 'vitest';
import type { Checkpoint } from '../../../src/run/checkpoints.js';
import type { Ended } from '../../end-to-end/program.js';
import type { Recorded } from './recorder.js';

/** What learners, actors and Redis have of the transitions of a run. */

/** The lines of a program's JSON output that report `event`. */
export const events = (text: string, event: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line.event === event);

/** The transitions in a checkpoint, oldest first, as `rowsOf` writes them. */
export function rowsIn({ tensors }: Checkpoint): string[] {
  const fields = ['observations', 'actions', 'returns', 'discounts', 'nextObservations'];
  const parts = fields.map((field) => {
    const { shape, data } = tensors[`replay/${field}`];
    const width = data.length / shape[0];
    return (row: number) => Buffer.from(data.slice(row * width, (row + 1) * width).buffer).toString('hex');
  });
  const [count] = tensors['replay/returns'].shape;
  return Array.from({ length: count }, (_, row) => parts.map((part) => part(row)).join(''));
}

/** Each actor's chunks without repetitions, in the order of their arrival. Fails when a chunk is missing. */
export function onceEach(entries: readonly Recorded[]): { chunks: Recorded[]; repeated: number } {
  const last = new Map<string, number>();
  const chunks = entries.filter(({ actor, sequence }) => {
    const before = last.get(actor) ?? 0;
    if (sequence <= before) return false;
    expect(sequence, `the chunk of ${actor} after ${before}`).toBe(before + 1);
    last.set(actor, sequence);
    return true;
  });
  return { chunks, repeated: entries.length - chunks.length };
}

/** Checks that Redis has every transition that it confirmed to an actor, and no more than the actor sent. */
export function checkActors(ended: readonly Ended[], chunks: readonly Recorded[]): void {
  for (const { stdout } of ended) {
    const said = [...events(stdout, 'stored'), ...events(stdout, 'end')].at(-1)!;
    const own = chunks.filter(({ actor }) => actor === said.actor);
    const isEnd = said.event === 'end';
    const stored = own.filter(({ sequence }) => isEnd || sequence <= (said.sequence as number));
    expect(stored.at(-1)?.sequence).toBe(said.sequence);
    expect(stored.reduce((sum, { count }) => sum + count, 0)).toBe(said.stored);
  }
}
