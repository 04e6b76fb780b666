import { PmpoError } from '../../core/errors.js';
import type { Columns, RecordedEpisode } from './source.js';

/** The checks of an episode that has been read: what a learner cannot learn from ends in one line with file and step. */

/** An episode with the ends of all of its steps. */
export interface RawEpisode extends Omit<RecordedEpisode, 'terminated' | 'rewards'> {
  /** [T], whole numbers of 64 bits as the file has them. */
  readonly rewards: ArrayLike<number | bigint>;
  /** [T], 1 where a step ended in a terminal state. */
  readonly terminations: ArrayLike<number | bigint>;
  /** [T], 1 where a step was the last one for another reason. */
  readonly truncations: ArrayLike<number | bigint>;
}

/** Values as numbers. @throws PmpoError if they are texts, or missing. */
export function numbersOf(where: string, name: string, values: unknown): ArrayLike<number | bigint> {
  if (ArrayBuffer.isView(values) && 'length' in values) return values as unknown as ArrayLike<number>;
  if (
    Array.isArray(values) &&
    values.every((v) => typeof v === 'number' || typeof v === 'bigint' || typeof v === 'boolean')
  )
    return values.map((v) => (typeof v === 'bigint' ? v : Number(v)));
  throw new PmpoError({
    where,
    what: `'${name}' does not hold numbers alone`,
    remedy: 'Write it as an array of numbers',
  });
}

function firstNotFinite(values: ArrayLike<number | bigint>): number {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    // The difference of a finite number and itself is 0.
    if (typeof value === 'number' && value - value !== 0) return i;
  }
  return -1;
}

function checkFinite(where: string, kind: string, columns: Columns, steps: number): void {
  for (const [name, values] of Object.entries(columns)) {
    const at = firstNotFinite(values);
    if (at < 0) continue;
    const step = Math.floor(at / (values.length / steps));
    throw new PmpoError({
      where: `${where}, step ${step}`,
      what: `${kind} '${name}' is ${String(values[at])}`,
      remedy: 'Leave the episode out, or mend what recorded it',
    });
  }
}

/**
 * Checks an episode's values and ends.
 * @throws PmpoError for no steps, for numbers that are not finite, and for an end before the last step.
 */
export function checkEpisode({ terminations, truncations, ...episode }: RawEpisode): RecordedEpisode {
  const { where, length, observations, actions, rewards } = episode;
  if (length === 0) throw new PmpoError({ where, what: 'it has no steps', remedy: 'Leave the episode out' });
  checkFinite(where, 'the observation', observations, length + 1);
  checkFinite(where, 'the action', actions, length);
  checkFinite(where, 'the value of', { rewards }, length);
  for (let t = 0; t < length - 1; t++) {
    if (!terminations[t] && !truncations[t]) continue;
    throw new PmpoError({
      where: `${where}, step ${t}`,
      what: `the episode ${terminations[t] ? 'terminated' : 'was truncated'} here, and ${length - 1 - t} more steps follow`,
      remedy: 'Split it into one episode for each reset',
    });
  }
  return {
    ...episode,
    rewards: Float64Array.from(rewards, Number),
    terminated: Boolean(terminations[length - 1]),
  };
}
