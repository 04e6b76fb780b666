import { readFile } from 'node:fs/promises';
import { ConfigError } from '../../core/errors.js';

/** Fills in a text with `{{placeholders}}`, such as a question to a judge. */
export type Template = (values: Readonly<Record<string, string>>) => string;

const placeholder = /\{\{\s*(\w+)\s*\}\}/g;

/**
 * Parses a template. It is filled in one pass: placeholders in inserted values stay as they are.
 * @param where the template's place, for error messages.
 * @throws ConfigError if the text has a placeholder that is not in `allowed`, or lacks one of `needed`.
 */
export function parseTemplate(
  text: string,
  where: string,
  needed: readonly string[],
  allowed = needed,
): Template {
  const used = new Set(Array.from(text.matchAll(placeholder), (match) => match[1]!));
  const unknown = [...used].find((name) => !allowed.includes(name));
  const known = allowed.map((name) => `{{${name}}}`).join(', ');
  if (unknown !== undefined) {
    throw new ConfigError({
      where,
      what: `unknown placeholder {{${unknown}}}`,
      remedy: `Known: ${known}`,
    });
  }
  const missing = needed.find((name) => !used.has(name));
  if (missing !== undefined) {
    throw new ConfigError({
      where,
      what: `{{${missing}}} is missing`,
      remedy: `It must have ${needed.map((name) => `{{${name}}}`).join(', ')}`,
    });
  }
  return (values) => text.replaceAll(placeholder, (_, name: string) => values[name] ?? '');
}

/** Reads a template from a file. @throws ConfigError if the file cannot be read, and as `parseTemplate`. */
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
