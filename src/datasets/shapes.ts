import { ConfigError, PmpoError } from '../core/errors.js';
import { nameList } from '../core/foreign-text.js';
import { nearest } from '../core/nearest.js';
import { present } from './messages.js';
import { asChat, completedPrompt, haveChats } from './prompts.js';
import type { PlacedRow, Row } from './rows.js';
import {
  type Cells,
  type ColumnRole,
  type Columns,
  columnRoles,
  isRank,
  type ReadRow,
  type ShapeDefinition,
} from './shape-cells.js';
import { shapeDefinitions } from './shape-definitions.js';
import { areTransitionColumns } from './transitions/row-form.js';

/** The shape of a data set, recognised by its columns. */

/** The roles that say how good a completion is. Data that have none of them are demonstrations. */
const judgingRoles = ['label', 'score', 'chosen', 'rejected', 'first', 'completions'] as const;

/** The column of the chat template's variables, which every shape reads; TRL calls it so, too. */
const variablesColumn = 'chat_template_kwargs';

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
  /** The columns that are read, by role. */
  readonly columns: Columns;
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
  { columns, needs, ownColumns = [] }: ShapeDefinition,
  known: ReadonlySet<string>,
  named: Columns,
): Map<ColumnRole, string> | undefined {
  if (Object.keys(named).some((role) => !Object.hasOwn(columns, role))) return undefined;
  const taken = new Set(Object.values(named));
  // A completion that the configuration names is what is meant, and not the pairs that the data have as well.
  const isSingle =
    named.completion !== undefined && named.chosen === undefined && named.rejected === undefined;
  const found = new Map<ColumnRole, string>();
  for (const role of columnRoles) {
    if (isSingle && columns.chosen !== undefined && (role === 'chosen' || role === 'rejected')) continue;
    const isFree = (name: string) => named[role] !== undefined || !taken.has(name);
    const column = names(named[role] ?? columns[role]).find((name) => known.has(name) && isFree(name));
    if (column !== undefined) found.set(role, column);
  }
  const isOwn = (role: ColumnRole) => names(columns[role]).includes(found.get(role) ?? '');
  if (!ownColumns.every(isOwn)) return undefined;
  return needs.every((group) => group.some((role) => found.has(role))) ? found : undefined;
}

/** Columns that may say how good a completion is, under names that no shape reads. */
const judgingColumns =
  /^(?:is_?|was_?|human_?|overall_?)?(?:reward|rating|rank|ranking|preference|preferred|desirable|desired|accepted|acceptable|approved|rejected|correct|correctness|feedback|quality|thumbs?(?:_?up|_?down)?|(?:up|down)?votes?|grade|verdict|score|label|good|bad|liked?|helpful|helpfulness|win|winner|better)s?$/i;
const maySayHowGood = (column: string) => judgingColumns.test(column.replaceAll(/[\s.-]+/g, '_'));

/** @throws PmpoError if completions that would all be accepted have a column that may say how good they are. */
function checkDemonstrations(source: string, unread: readonly string[]): void {
  const column = unread.find(maySayHowGood);
  if (column === undefined) return;
  throw new PmpoError({
    where: source,
    what: `no label or score is read, so every completion would be taken as accepted, but the column '${column}' may say how good it is`,
    remedy: `Set language.dataset.columns: {label: ${column}} or {score: ${column}}; or language.dataset.labels: none, if all completions are to be learned`,
  });
}

/** @throws PmpoError if a column beside pairs says in any row that the rejected side is the better one. */
function checkPairs(
  rows: readonly PlacedRow[],
  columns: ReadonlyMap<ColumnRole, string>,
  unread: readonly string[],
): void {
  const rejected = columns.get('rejected');
  if (rejected === undefined) return;
  for (const column of unread.filter(maySayHowGood)) {
    const found = rows.find(({ row }) => row[column] === 'rejected' || row[column] === rejected);
    if (found === undefined) continue;
    throw new PmpoError({
      where: found.where,
      what: `'${column}' says that the side in '${rejected}' is the better one, and this column is not read`,
      remedy: `Swap the sides of such rows, or remove the column if '${rejected}' is rejected all the same`,
    });
  }
}

interface FoundShape {
  readonly definition: ShapeDefinition;
  readonly columns: Map<ColumnRole, string>;
}

/** The first shape that the data have; undefined if there is none. */
function firstShape(
  definitions: readonly ShapeDefinition[],
  known: ReadonlySet<string>,
  named: Columns,
): FoundShape | undefined {
  for (const definition of definitions) {
    const columns = resolved(definition, known, named);
    if (columns !== undefined) return { definition, columns };
  }
  return undefined;
}

/** The shape that the data have by their own columns, if the configuration names just those; otherwise the first that fits what it names. */
function findShape(known: ReadonlySet<string>, named: Columns): FoundShape | undefined {
  const own = firstShape(shapeDefinitions, known, {});
  const agrees = Object.entries(named).every(
    ([role, column]) => own?.columns.get(role as ColumnRole) === column,
  );
  return firstShape(agrees && own !== undefined ? [own.definition] : shapeDefinitions, known, named);
}

/** Drops the columns of labels and scores that no row reads, because each row is a pair or a list. */
function withoutUnusedJudgements(
  rows: readonly PlacedRow[],
  columns: ReadonlyMap<ColumnRole, string>,
  named: Columns,
): ReadonlyMap<ColumnRole, string> {
  const sides = (['chosen', 'rejected', 'completions'] as const).flatMap((role) => columns.get(role) ?? []);
  const isUsed = rows.some(({ row }) => sides.every((column) => !present(row[column])));
  if (sides.length === 0 || isUsed) return columns;
  for (const role of ['label', 'score'] as const) {
    if (named[role] === undefined || !columns.has(role)) continue;
    throw new ConfigError({
      where: `language.dataset.columns.${role}`,
      what: `'${named[role]}' would not be read, because the rows have ${nameList(sides)}`,
      remedy: 'Remove it, or remove the columns of the other completions from the data',
    });
  }
  return new Map([...columns].filter(([role]) => role !== 'label' && role !== 'score'));
}

/** How a shape is to be found. */
export interface ShapeOptions {
  /** The columns that the configuration names, which take the place of a shape's own. */
  readonly columns?: Columns;
  /** Whether every completion is taken as accepted, whatever a label or a score says. Default: false. */
  readonly demonstrations?: boolean;
}

/**
 * Finds the shape of a data set by its columns.
 * @throws PmpoError if no shape has these columns, a named column is missing, or a column that may say how good a completion is would not be
 *   read; ConfigError if pairs are to be demonstrations.
 */
export function shapeOf(
  rows: readonly PlacedRow[],
  source: string,
  { columns: named = {}, demonstrations = false }: ShapeOptions = {},
): Shape {
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
  const found = isInner ? firstShape([asList], known, outer) : findShape(known, named);
  if (found === undefined) {
    if (areTransitionColumns(known)) {
      throw new PmpoError({
        where: source,
        what: 'these are transitions of a simulator, and this is about completions of a language model',
        remedy: 'To learn from them, name the file in `dataset: {file: …}`; docs/offline.md says how',
      });
    }
    throw new PmpoError({
      where: source,
      what: `its columns are ${nameList([...known])}, and no known shape of data sets has ${Object.keys(named).length > 0 ? 'those that language.dataset.columns names' : 'these'}`,
      remedy:
        'Set language.dataset.columns, for example {prompt: …, chosen: …, rejected: …} or {prompt: …, completion: …, label: …}; docs/aligning.md lists the shapes',
    });
  }
  const { definition } = found;
  const used = withoutUnusedJudgements(rows, found.columns, named);
  const several = (['rejected', 'first', 'completions'] as const).find((role) => used.has(role));
  if (demonstrations && several !== undefined) {
    throw new ConfigError({
      where: 'language.dataset.labels',
      what: `'none' takes every completion as accepted, but ${source} has '${used.get(several)}'`,
      remedy: 'Omit it, or name the columns of prompt and completion by language.dataset.columns',
    });
  }
  const columns = demonstrations
    ? new Map([...used].filter(([role]) => role !== 'label' && role !== 'score'))
    : used;
  const completions = columns.get('completions');
  const inner = completions === undefined ? undefined : (score ?? innerScore(rows, completions));
  const areChats = haveChats(
    rows,
    (['system', 'tools'] as const).flatMap((role) => columns.get(role) ?? []),
  );
  const isJudged =
    !demonstrations &&
    judgingRoles.some(
      (role) => columns.has(role) || names(definition.columns[role]).some((name) => hasColumn(rows, name)),
    );
  const shape = shapeWith(definition, columns, known, { innerScore: inner, areChats, isJudged });
  if (!isJudged && !demonstrations) checkDemonstrations(source, shape.unread);
  checkPairs(rows, columns, shape.unread);
  return shape;
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
  const scoredBy = (field: string) => `scored by ${isRank(field) ? 'minus ' : ''}'${field}'`;
  const outerScore = columns.get('score');
  const notes = [
    definition.note?.(nameOf),
    innerScore !== undefined
      ? `${scoredBy(innerScore)} of each completion`
      : outerScore !== undefined && outerScore !== 'score'
        ? scoredBy(outerScore)
        : undefined,
    isJudged ? undefined : 'without labels, so every one is taken as accepted',
  ].filter((note) => note !== undefined);
  return {
    description: `${definition.name} (${read.join(', ')})${notes.map((note) => `, ${note}`).join('')}`,
    columns: Object.fromEntries(columns),
    unread: [...known].filter((column) => !read.includes(column) && column !== variablesColumn),
    read(row) {
      const cells: Cells = (role) => {
        const column = columns.get(role);
        return column === undefined ? undefined : (row[column] ?? undefined);
      };
      const found = definition.read(cells, nameOf);
      const own = completedPrompt(found.prompt, {
        system: cells('system'),
        tools: cells('tools'),
        variables: row[variablesColumn],
      });
      const prompt = areChats ? asChat(own) : own;
      if (isJudged) return { ...found, prompt };
      return { prompt, completions: found.completions.map((one) => ({ ...one, side: 1 })) };
    },
  };
}
