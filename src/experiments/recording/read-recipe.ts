import { readFile, stat } from 'node:fs/promises';
import { parse } from 'yaml';
import { ConfigError } from '../../core/errors.js';
import { formatPath, isGroup } from '../../core/key-path.js';
import { explainIssues } from '../../core/schema-problems.js';
import { type Recipe, recipeSchema } from './recipe.js';

/** A file's recipe; undefined for a folder, and for a file that is something else. @throws ConfigError listing what is wrong with it. */
export async function readRecipe(file: string): Promise<Recipe | undefined> {
  const info = await stat(file).catch(() => undefined);
  if (info?.isFile() !== true) return undefined;
  let values: unknown;
  try {
    values = parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new ConfigError({ where: file, what: String((cause as Error).message).split('\n')[0]!, cause });
  }
  if (!isGroup(values) || values.policies === undefined) return undefined;
  const { data, error } = recipeSchema.safeParse(values);
  if (error === undefined) return data;
  const problems = explainIssues(error, recipeSchema, values).map(
    ({ path, what, remedy }) => `${formatPath(path)}: ${what}${remedy === undefined ? '' : `. ${remedy}`}`,
  );
  throw new ConfigError({ where: file, what: problems.join('\n') });
}
