import { PmpoError } from '../core/errors.js';
import { nameList } from '../core/foreign-text.js';
import { nearest } from '../core/nearest.js';
import { asChat, completedPrompt } from './prompts.js';
import type { PlacedRow, Row } from './rows.js';
import {
  type Cells,
  type ColumnRole,
  type Columns,
  columnRoles,
  present,
  type ReadRow,
  type ShapeDefinition,
} from './shape-cells.js';
import { shapeDefinitions } from './shape-definitions.js';

/** The shape of a data set, recognised by its columns. */

/** The roles that say how good a completion is. Data that have none of them are demonstrations. */
const judgingRoles = ['label', 'score', 'chosen', 'rejected', 'first', 'completions'] as const;

/** The names of a score in a list of completions; of a rank, 1 is the best. */
const innerScores = ['score', 'overall_score', 'rank'];

/** The field of a score in the first list of completions that has one. */
function innerScore(rows: readonly PlacedRow[], column: string): string | undefined {
  for (const { row } of rows) {
    const entries: unknown = row[column];
    if (!Array.isArray(entries)) continue;
    for (const entry of entries as (Row | null)[]) {
      const field = innerScores.find((name) => typeof entry === 'object' && present(entry?.[name]));
      if (field !== undefined) return field;
    }
  }
  return undefined;
}

/** A shape that was found, with the columns that it reads. */
export interface Shape {
  /** What the file was read as: `pairs whose prompt is their common beginning (chosen, rejected)`. */
  readonly description: string;
  /** The columns that are not read. */
  readonly unread: readonly string[];
  /** Reads a row. @throws UnreadableRow */
  read(row: Row): ReadRow;
}

const names = (given: string | readonly string[] | undefined) => [given ?? []].flat();

/** Whether any row has the column, if only with null: a column of labels without any is no data set of demonstrations. */
const hasColumn = (rows: readonly PlacedRow[], column: string) => rows.some(({ row }) => column in row);

/** The columns in which any row has a value. */
function columnsOf(rows: readonly PlacedRow[]): Set<string> {
  const columns = new Set<string>();
  for (const { row } of rows)
    for (const [column, value] of Object.entries(row)) if (present(value)) columns.add(column);
  return columns;
}

/** The column of each role that the data have; undefined if the shape needs another, or does not know a role that is named. */
function resolved(
  { columns, needs }: ShapeDefinition,
  known: ReadonlySet<string>,
  named: Columns,
): Map<ColumnRole, string> | undefined {
  if (Object.keys(named).some((role) => !Object.hasOwn(columns, role))) return undefined;
  const taken = new Set(Object.values(named));
  const found = new Map<ColumnRole, string>();
  for (const role of columnRoles) {
    const isFree = (name: string) => named[role] !== undefined || !taken.has(name);
    const column = names(named[role] ?? columns[role]).find((name) => known.has(name) && isFree(name));
    if (column !== undefined) found.set(role, column);
  }
  return needs.every((group) => group.some((role) => found.has(role))) ? found : undefined;
}

/**
 * Finds the shape of a data set by its columns.
 * @param named the columns that the configuration names, which take the place of a shape's own.
 * @throws PmpoError if no shape has these columns, or a named column is missing.
 */
export function shapeOf(rows: readonly PlacedRow[], source: string, named: Columns = {}): Shape {
  const known = columnsOf(rows);
  // A list of completions has its scores inside.
  const { score, ...outer } = named;
  const asList = shapeDefinitions.find(
    (definition) =>
      definition.columns.completions !== undefined && resolved(definition, known, outer)?.has('completions'),
  );
  const isInner = asList !== undefined && score !== undefined && !known.has(score);
  for (const [role, column] of Object.entries(isInner ? outer : named)) {
    if (known.has(column)) continue;
    const close = nearest(column, [...known]);
    throw new PmpoError({
      where: `language.dataset.columns.${role}`,
      what: `${source} has no column '${column}'`,
      remedy: close === undefined ? `It has ${nameList([...known])}` : `Did you mean '${close}'?`,
    });
  }
  for (const definition of isInner ? [asList] : shapeDefinitions) {
    const columns = resolved(definition, known, isInner ? outer : named);
    if (columns === undefined) continue;
    const completions = columns.get('completions');
    const inner = completions === undefined ? undefined : (score ?? innerScore(rows, completions));
    // A system message or tools make a prompt a chat; then the other prompts of the data are chats, too.
    const areChats = (['system', 'tools'] as const).some((role) => {
      const column = columns.get(role);
      return column !== undefined && rows.some(({ row }) => present(row[column]) && row[column] !== '');
    });
    const isJudged = judgingRoles.some(
      (role) => columns.has(role) || names(definition.columns[role]).some((name) => hasColumn(rows, name)),
    );
    return shapeWith(definition, columns, known, { innerScore: inner, areChats, isJudged });
  }
  throw new PmpoError({
    where: source,
    what: `its columns are ${nameList([...known])}, and no known shape of data sets has ${Object.keys(named).length > 0 ? 'those that language.dataset.columns names' : 'these'}`,
    remedy:
      'Set language.dataset.columns, for example {prompt: …, chosen: …, rejected: …} or {prompt: …, completion: …, label: …}; docs/aligning.md lists the shapes',
  });
}

/**
 * @param options.innerScore the field of the scores in a list of completions.
 * @param options.isJudged whether the data say how good completions are; otherwise they are demonstrations.
 * @param options.areChats whether prompts that are texts become messages of the user.
 */
function shapeWith(
  definition: ShapeDefinition,
  columns: ReadonlyMap<ColumnRole, string>,
  known: ReadonlySet<string>,
  {
    innerScore,
    areChats,
    isJudged,
  }: { readonly innerScore: string | undefined; readonly areChats: boolean; readonly isJudged: boolean },
): Shape {
  const nameOf = (role: ColumnRole) =>
    columns.get(role) ?? (role === 'score' ? innerScore : undefined) ?? role;
  const read = [...new Set(columns.values())];
  const notes = [
    definition.note?.(nameOf),
    innerScore === undefined
      ? undefined
      : `scored by ${innerScore === 'rank' ? 'minus ' : ''}'${innerScore}' of each completion`,
    isJudged ? undefined : 'without labels, so every one is taken as accepted',
  ].filter((note) => note !== undefined);
  return {
    description: `${definition.name} (${read.join(', ')})${notes.map((note) => `, ${note}`).join('')}`,
    unread: [...known].filter((column) => !read.includes(column)),
    read(row) {
      const cells: Cells = (role) => {
        const column = columns.get(role);
        return column === undefined ? undefined : (row[column] ?? undefined);
      };
      const found = definition.read(cells, nameOf);
      const own = completedPrompt(found.prompt, { system: cells('system'), tools: cells('tools') });
      const prompt = areChats ? asChat(own) : own;
      if (isJudged) return { ...found, prompt };
      return { prompt, completions: found.completions.map((one) => ({ ...one, side: 1 })) };
    },
  };
}
