import type { z } from 'zod';
import { ConfigError } from './errors.js';
import { formatPath } from './key-path.js';
import { explainIssues } from './schema-problems.js';

/**
 * Checks settings by their schema and fills in the defaults.
 * @param where whose settings they are, for the message
 * @throws ConfigError naming each setting that is unknown or out of range, one a line.
 */
export function parseSettings<S extends z.ZodObject>(
  where: string,
  schema: S,
  settings: unknown,
): z.output<S> {
  const parsed = schema.safeParse(settings);
  if (parsed.success) return parsed.data;
  const problems = explainIssues(parsed.error, schema, settings);
  throw new ConfigError({
    what: problems
      .map(({ path, what, remedy }) => {
        const place = [where, formatPath(path)].filter((part) => part !== '').join(', ');
        return `${place}: ${what}${remedy === undefined ? '' : `. ${remedy}`}`;
      })
      .join('\n'),
  });
}
