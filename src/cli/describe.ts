import { z } from 'zod';
import type { Definition } from '../core/registry.js';

type JsonSchema = z.core.JSONSchema.JSONSchema;

function typeOf(schema: JsonSchema): string {
  const options = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined;
  if (options !== undefined) return options.map(typeOf).join(' or ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.join(' | ');
  if (schema.type === 'object') return `{${Object.keys(schema.properties ?? {}).join(', ')}}`;
  if (schema.type === 'array') return 'list';
  if (schema.type !== 'number' && schema.type !== 'integer') return String(schema.type ?? 'any');
  const word = schema.type === 'integer' ? 'whole number' : 'number';
  const low = schema.exclusiveMinimum ?? schema.minimum;
  const high = schema.exclusiveMaximum ?? schema.maximum;
  // zod adds the bounds of safe integers, which are of no interest here.
  const bounds = [
    low !== undefined && Number(low) > Number.MIN_SAFE_INTEGER
      ? `${schema.exclusiveMinimum === undefined ? '≥' : '>'} ${low}`
      : '',
    high !== undefined && Number(high) < Number.MAX_SAFE_INTEGER
      ? `${schema.exclusiveMaximum === undefined ? '≤' : '<'} ${high}`
      : '',
  ].filter((bound) => bound !== '');
  return [word, bounds.join(', ')].filter((part) => part !== '').join(' ');
}

/** Formats rows of cells as lines with aligned columns. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i].length))) ?? [];
  return rows.map((row) =>
    row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i]) : cell)).join('  '),
  );
}

/** Describes definitions as text (name, description, and settings with types and defaults) or as JSON. */
export function describeDefinitions(definitions: readonly Definition[], { json }: { json: boolean }): string {
  const described = definitions.map(({ name, description, plugin, settings }) => ({
    name,
    description,
    ...(plugin === undefined ? {} : { plugin }),
    settings: z.toJSONSchema(settings, { io: 'input', unrepresentable: 'any' }),
  }));
  if (json) return `${JSON.stringify(described, null, 2)}\n`;
  const blocks = described.map(({ name, description, plugin, settings }) => {
    const required = new Set(settings.required ?? []);
    const rows = Object.entries(settings.properties ?? {}).map(([key, value]) => {
      const schema = value as JsonSchema;
      const preset =
        schema.default !== undefined
          ? `default ${JSON.stringify(schema.default)}`
          : required.has(key)
            ? 'required'
            : '';
      return [key, typeOf(schema), preset, schema.description ?? ''];
    });
    const from = plugin === undefined ? '' : ` (from ${plugin})`;
    return [`${name}${from}: ${description}`, ...columns(rows).map((row) => `    ${row.trimEnd()}`)].join(
      '\n',
    );
  });
  return `${blocks.join('\n\n')}\n`;
}
