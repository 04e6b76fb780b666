import { PmpoError } from '../../core/errors.js';
import { isGroup } from '../../core/key-path.js';
import type { NamedSpecs, TensorSpec } from '../../environments/environment.js';
import { checkEpisode } from './checks.js';
import type { Columns, RecordedEpisode } from './source.js';

/**
 * Transitions as rows of JSON Lines or Parquet, in one of two forms:
 *
 * - a row is a transition: `observation`, `action`, `reward`, `next_observation`, `terminated`;
 * - a row is an episode of T steps: `observations` (T + 1), `actions`, `rewards`, and `terminated`.
 *
 * An observation or an action is a number, a list of numbers (nested lists are read in row-major order), or an object of these by name.
 */

type Row = Readonly<Record<string, unknown>>;

/** The form of a file's rows, from its first row. */
export interface RowForm {
  readonly isEpisode: boolean;
  readonly observations: NamedSpecs;
  readonly actions: NamedSpecs;
}

const names = {
  transition: { observation: 'observation', action: 'action', reward: 'reward' },
  episode: { observation: 'observations', action: 'actions', reward: 'rewards' },
} as const;

/** Whether columns are meant as transitions or episodes: observations, actions and rewards all have a column. */
export function areTransitionColumns(columns: ReadonlySet<string>): boolean {
  const { transition, episode } = names;
  return (['observation', 'action', 'reward'] as const).every(
    (part) => columns.has(transition[part]) || columns.has(episode[part]),
  );
}

const remedy =
  'A row is a transition, {observation, action, reward, next_observation, terminated}, or an episode, {observations, actions, rewards, terminated}';

function need(where: string, row: Row, name: string): unknown {
  const value = row[name];
  if (value !== undefined && value !== null) return value;
  throw new PmpoError({ where, what: `the column '${name}' is missing`, remedy });
}

function listOf(where: string, name: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new PmpoError({ where, what: `'${name}' is not a list with an entry for each step`, remedy });
}

function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...(value.length > 0 ? shapeOf(value[0]) : [])] : [];
}

/** A value that is a tensor, or an object of tensors, as tensors by name. */
function tensors(root: string, value: unknown): Readonly<Record<string, unknown>> {
  return isGroup(value) ? value : { [root]: value };
}

function specsOf(where: string, root: string, value: unknown): NamedSpecs {
  return Object.fromEntries(
    Object.entries(tensors(root, value)).map(([name, tensor]): [string, TensorSpec] => {
      const shape = shapeOf(tensor);
      append(where, name, shape, tensor, []);
      return [name, { name, shape, dtype: 'float64' }];
    }),
  );
}

/** Finds the form of the rows. @throws PmpoError for a column that is missing. */
export function rowForm(where: string, row: Row): RowForm {
  const isEpisode = row.observations !== undefined;
  const form = isEpisode ? names.episode : names.transition;
  const first = (name: string) => {
    const value = need(where, row, name);
    if (!isEpisode) return value;
    const list = listOf(where, name, value);
    if (list.length > 0) return list[0];
    throw new PmpoError({ where, what: `'${name}' has no entries`, remedy: 'Leave the episode out' });
  };
  return {
    isEpisode,
    observations: specsOf(where, 'observation', first(form.observation)),
    actions: specsOf(where, 'action', first(form.action)),
  };
}

/** A value for people. */
const shown = (value: unknown) =>
  JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? Number(inner) : inner)) ??
  'missing';

const said = (shape: readonly number[]) => (shape.length === 0 ? 'one number' : `the shape [${shape}]`);

/** Appends the numbers of a tensor. @throws PmpoError for another shape, and for anything but numbers. */
function append(where: string, name: string, shape: readonly number[], value: unknown, out: number[]): void {
  const [size, ...inner] = shape;
  if (size === undefined) {
    if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') {
      out.push(Number(value));
      return;
    }
    const found = Array.isArray(value) ? `it has the shape [${shapeOf(value)}]` : `it is ${shown(value)}`;
    throw new PmpoError({
      where,
      what: `'${name}' must be a number here, and ${found}`,
      remedy: 'All rows must have the form of the first',
    });
  }
  if (!Array.isArray(value) || value.length !== size) {
    throw new PmpoError({
      where,
      what: `'${name}' has ${Array.isArray(value) ? said(shapeOf(value)) : shown(value)}, and the first row has ${said(shape)}`,
      remedy: 'All rows must have the form of the first',
    });
  }
  for (const element of value) append(where, name, inner, element, out);
}

function columnsOf(where: string, root: string, specs: NamedSpecs, steps: readonly unknown[]): Columns {
  const columns = Object.fromEntries(Object.keys(specs).map((name): [string, number[]] => [name, []]));
  for (const [i, step] of steps.entries()) {
    const place = steps.length > 2 ? `${where}, step ${i}` : where;
    const given = tensors(root, step);
    const stray = Object.keys(given).find((name) => specs[name] === undefined);
    if (stray !== undefined) {
      throw new PmpoError({
        where: place,
        what: `the ${root} has '${stray}', which the first row does not have`,
        remedy: 'All rows must have the form of the first',
      });
    }
    for (const [name, { shape }] of Object.entries(specs))
      append(place, name, shape, given[name], columns[name]!);
  }
  return columns;
}

function flag(where: string, name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  // Parquet's whole numbers of 64 bits are bigints.
  if (value === 0 || value === 1 || value === 0n || value === 1n) return Boolean(value);
  throw new PmpoError({
    where,
    what: `'${name}' is ${shown(value)}, and true or false is right`,
    remedy:
      'Write true for an episode that ended in a terminal state, and false for one that was cut off or goes on',
  });
}

/** A row as an episode: a transition is an episode of one step. @throws PmpoError with the row's place. */
export function episodeOf(where: string, form: RowForm, row: Row): RecordedEpisode {
  const isEpisode = row.observations !== undefined;
  if (isEpisode !== form.isEpisode) {
    throw new PmpoError({
      where,
      what: `the row is ${isEpisode ? 'an episode' : 'a transition'}, and the first row is ${isEpisode ? 'a transition' : 'an episode'}`,
      remedy: 'All rows must have the form of the first',
    });
  }
  const column = names[isEpisode ? 'episode' : 'transition'];
  const value = (name: string) => need(where, row, name);
  const steps = (name: string) => listOf(where, name, value(name));
  const observations = isEpisode
    ? steps(column.observation)
    : [value(column.observation), value('next_observation')];
  const actions = isEpisode ? steps(column.action) : [value(column.action)];
  const rewards: number[] = [];
  for (const reward of isEpisode ? steps(column.reward) : [value(column.reward)])
    append(where, column.reward, [], reward, rewards);
  const length = rewards.length;
  if (observations.length !== length + 1 || actions.length !== length) {
    throw new PmpoError({
      where,
      what: `there are ${observations.length} observations and ${actions.length} actions for ${length} rewards`,
      remedy: 'An episode of T steps has T + 1 observations, T actions and T rewards',
    });
  }
  const ends = new Uint8Array(length);
  if (length > 0) ends[length - 1] = Number(flag(where, 'terminated', value('terminated')));
  return checkEpisode({
    where,
    length,
    observations: columnsOf(where, 'observation', form.observations, observations),
    actions: columnsOf(where, 'action', form.actions, actions),
    rewards,
    terminations: ends,
    truncations: new Uint8Array(length),
  });
}
