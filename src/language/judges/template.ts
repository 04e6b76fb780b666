import { readFile } from 'node:fs/promises';
import { ConfigError } from '../../core/errors.js';

/** Questions to a judge, as texts with `{{holes}}`. */
export type Template = (values: Readonly<Record<string, string>>) => string;

const hole = /\{\{\s*(\w+)\s*\}\}/g;

/**
 * A template that is filled in one pass: what is put into a hole is never looked at for holes.
 * @param where for messages.
 * @throws ConfigError when a hole has no value to come, or one of `needed` has no hole.
 */
export function parseTemplate(
  text: string,
  where: string,
  needed: readonly string[],
  allowed = needed,
): Template {
  const holes = new Set(Array.from(text.matchAll(hole), (match) => match[1]!));
  const unknown = [...holes].find((name) => !allowed.includes(name));
  const known = allowed.map((name) => `{{${name}}}`).join(', ');
  if (unknown !== undefined) {
    throw new ConfigError({
      where,
      what: `there is nothing to fill {{${unknown}}} with`,
      remedy: `Known: ${known}`,
    });
  }
  const missing = needed.find((name) => !holes.has(name));
  if (missing !== undefined) {
    throw new ConfigError({
      where,
      what: `{{${missing}}} is missing`,
      remedy: `It must have ${needed.map((name) => `{{${name}}}`).join(', ')}`,
    });
  }
  return (values) => text.replaceAll(hole, (_, name: string) => values[name] ?? '');
}

/** A template from a file. @throws ConfigError when there is none, and as `parseTemplate`. */
export async function readTemplate(
  file: string,
  where: string,
  needed: readonly string[],
  allowed = needed,
): Promise<Template> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const what = missing ? `there is no file ${file}` : `${file} cannot be read: ${(cause as Error).message}`;
    throw new ConfigError({ where, what, cause });
  }
  return parseTemplate(text, `${where}: ${file}`, needed, allowed);
}
