import { z } from 'zod';
import { formatPath, isGroup, type KeyPath, valueAt } from './key-path.js';
import { nearest, suggestion } from './nearest.js';
import { hidden, isSecretKey, withoutCredentials } from './secrets.js';

/** One thing that is wrong with settings, at one key. */
export interface Problem {
  readonly path: KeyPath;
  /** One clause, no trailing full stop. */
  readonly what: string;
  readonly remedy?: string;
}

type JsonSchema = z.core.JSONSchema.JSONSchema;
type Issue = z.core.$ZodIssue;

/** The alternatives of a union, nested ones included; if they are chosen by `name`, only the one that `value` names. */
function alternatives(schema: JsonSchema, value: unknown): JsonSchema[] {
  const options = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined;
  if (options === undefined) return [schema];
  const nameOf = (option: JsonSchema) => (option.properties?.name as JsonSchema | undefined)?.const;
  const name = isGroup(value) ? value.name : undefined;
  const named = options.filter((option) => nameOf(option) !== undefined && nameOf(option) === name);
  return (named.length > 0 ? named : options).flatMap((option) => alternatives(option, value));
}

/** The keys that the schema allows in the group at `path`. */
function keysAt(schema: JsonSchema, values: unknown, path: KeyPath): string[] {
  let here = alternatives(schema, values);
  path.forEach((key, i) => {
    const value = valueAt(values, path.slice(0, i + 1));
    here = here.flatMap((s) => {
      const inner = (s.properties?.[key] ?? s.additionalProperties ?? s.items) as
        | JsonSchema
        | boolean
        | undefined;
      return typeof inner === 'object' ? alternatives(inner, value) : [];
    });
  });
  return [...new Set(here.flatMap((s) => Object.keys(s.properties ?? {})))];
}

/** Every path of the schema, formatted, outermost first; in a union by `name`, only those of the alternative in `values`. */
function allPaths(schema: JsonSchema, values: unknown, path: string[] = []): string[] {
  const inner = alternatives(schema, valueAt(values, path)).flatMap((s) =>
    Object.entries(s.properties ?? {}),
  );
  return inner.flatMap(([key, s]) => [
    [...path, key].join('.'),
    ...(typeof s === 'object' ? allPaths(s, values, [...path, key]) : []),
  ]);
}

function hideSecret(key: string, value: unknown): unknown {
  return isSecretKey(key) ? hidden : value;
}

/** The value at a path as messages show it: not at all if it is, or is inside of, a secret. */
function showAt(path: KeyPath, value: unknown): string {
  return path.some((key) => isSecretKey(String(key))) ? 'what is given' : show(value);
}

/** A value as messages show it: short, and without secrets. */
export function show(value: unknown): string {
  if (typeof value === 'number') return String(value);
  const whole =
    typeof value === 'string' ? `'${value}'` : (JSON.stringify(value, hideSecret) ?? String(value));
  const text = withoutCredentials(whole);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

const typeWords: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'text',
  boolean: 'true or false',
  object: 'a group of settings',
  record: 'a group of settings',
  array: 'a list',
};

/** The most unknown keys of one group that are listed, because the nearest known key is searched for each. */
const mostUnknownKeys = 10;

const list = (values: readonly unknown[]) => values.map(show).join(', ');

function limit({ code, origin, ...issue }: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const least = code === 'too_small';
  const bound = 'minimum' in issue ? issue.minimum : issue.maximum;
  const words = issue.inclusive
    ? `at ${least ? 'least' : 'most'} ${bound}`
    : `${least ? 'greater' : 'less'} than ${bound}`;
  if (origin === 'array') return `must have ${words} item${Number(bound) === 1 ? '' : 's'}`;
  if (origin === 'string') return `must have ${words} character${Number(bound) === 1 ? '' : 's'}`;
  return `must be ${words}`;
}

class Explainer {
  constructor(
    readonly schema: JsonSchema,
    readonly values: unknown,
  ) {}

  explain(issue: Issue, outer: KeyPath): Problem[] {
    const path = [...outer, ...(issue.path as KeyPath)];
    const value = valueAt(this.values, path);
    const not = value === undefined ? '' : `, not ${showAt(path, value)}`;
    switch (issue.code) {
      case 'unrecognized_keys':
        return this.unknownKeys(path, issue.keys);
      case 'invalid_type':
        return [this.wrongType(path, issue.expected, value)];
      case 'too_small':
      case 'too_big':
        return [{ path, what: `${limit(issue)}${not}` }];
      case 'invalid_value':
        return [this.notOneOf(path, issue.values, value)];
      case 'invalid_union':
        return this.union(issue, path, value);
      case 'invalid_format':
        return [{ path, what: `must be ${issue.message}${not}` }];
      default:
        return [{ path, what: issue.message }];
    }
  }

  /** The first unknown keys, each with the nearest known one, and the number of the others. */
  private unknownKeys(path: KeyPath, keys: readonly string[]): Problem[] {
    const problems = keys.slice(0, mostUnknownKeys).map((key) => this.unknownKey(path, key));
    const more = keys.length - mostUnknownKeys;
    return more > 0 ? [...problems, { path, what: `has ${more} more unknown keys` }] : problems;
  }

  private wrongType(path: KeyPath, expected: string, value: unknown): Problem {
    const words = typeWords[expected] ?? expected;
    if (value === undefined) return { path, what: `is missing: it must be ${words}` };
    if (typeof value === 'number' && !Number.isFinite(value)) {
      return { path, what: `must be a finite number, not ${value}` };
    }
    const isNamed = words === typeWords.object && typeof value === 'string' && path.length > 0;
    const remedy =
      isNamed && keysAt(this.schema, this.values, path).includes('name')
        ? `Write ${formatPath(path)}: {name: ${withoutCredentials(value)}}`
        : undefined;
    return { path, what: `must be ${words}, not ${showAt(path, value)}`, remedy };
  }

  private notOneOf(path: KeyPath, options: readonly unknown[], value: unknown): Problem {
    if (value === undefined) return { path, what: `is missing: it must be one of ${list(options)}` };
    const guess = nearest(String(value), options.map(String));
    const words = options.length === 1 ? `must be ${show(options[0])}` : `must be one of ${list(options)}`;
    return {
      path,
      what: `${words}, not ${showAt(path, value)}`,
      remedy: guess && `Did you mean '${guess}'?`,
    };
  }

  private unknownKey(path: KeyPath, key: string): Problem {
    const known = keysAt(this.schema, this.values, path);
    const group = valueAt(this.values, path);
    const name = isGroup(group) && known.includes('name') && path.length > 0 ? group.name : undefined;
    const what = name === undefined ? 'unknown key' : `unknown key of the ${formatPath(path)} '${name}'`;
    const guess = nearest(key, known) ?? this.elsewhere(key);
    const others =
      name === undefined ? '' : `. A setting of another ${formatPath(path)} must go with its name`;
    const remedy =
      guess === undefined ? `Known here: ${known.join(', ')}${others}` : `Did you mean '${guess}'?`;
    return { path: [...path, key], what, remedy };
  }

  /** The path of a key that was given in the wrong group, if exactly one group of the schema has it. */
  private elsewhere(key: string): string | undefined {
    const paths = allPaths(this.schema, this.values).filter((p) => p.slice(p.lastIndexOf('.') + 1) === key);
    return paths.length === 1 ? paths[0] : undefined;
  }

  private union(issue: z.core.$ZodIssueInvalidUnion, path: KeyPath, value: unknown): Problem[] {
    if (issue.errors.length === 0) {
      const options = keysAt(this.schema, this.values, path.slice(0, -1)).length > 0 ? this.names(path) : [];
      const kind = formatPath(path.slice(0, -1));
      if (value === undefined) return [{ path, what: `is missing: it must be one of ${options.join(', ')}` }];
      const remedy = `${suggestion(String(value), options)}Known: ${options.join(', ')}`;
      return [{ path, what: `unknown ${kind} ${showAt(path, value)}`, remedy }];
    }
    const isWhole = (issues: readonly Issue[]) =>
      issues.some((i) => i.path.length === 0 && (i.code === 'invalid_type' || i.code === 'invalid_value'));
    const near = issue.errors.filter((issues) => !isWhole(issues));
    // The value has the type of exactly one alternative, so the problem lies within it.
    const inside = near.filter((issues) => !issues.some((i) => i.code === 'unrecognized_keys'));
    if (inside.length === 1) return inside[0].flatMap((i) => this.explain(i, path));
    const known = keysAt(this.schema, this.values, path);
    if (isGroup(value) && known.length > 0) {
      const unknown = Object.keys(value).filter((key) => !known.includes(key));
      if (unknown.length > 0) return this.unknownKeys(path, unknown);
    }
    return [{ path, what: `must be ${this.choices(path)}, not ${showAt(path, value)}` }];
  }

  private optionsAt(path: KeyPath): JsonSchema[] {
    let here: JsonSchema[] = [this.schema];
    for (const key of path) {
      here = here.flatMap((s) => {
        const offered = [s, ...((s.anyOf ?? s.oneOf ?? []) as JsonSchema[])];
        return offered.flatMap((o) => {
          const inner = (o.properties?.[key] ?? o.additionalProperties) as JsonSchema | boolean | undefined;
          return typeof inner === 'object' ? [inner] : [];
        });
      });
    }
    return here.flatMap((s) => ((s.anyOf ?? s.oneOf) as JsonSchema[] | undefined) ?? [s]);
  }

  private names(path: KeyPath): string[] {
    return this.optionsAt(path).flatMap((s) => (s.const === undefined ? [] : [String(s.const)]));
  }

  /** The alternatives at `path` in words: `{period: …}, {rate: …} or 'initial'`. */
  private choices(path: KeyPath): string {
    const words = this.optionsAt(path).flatMap((s) => {
      if (s.const !== undefined) return show(s.const);
      if (s.properties)
        return `{${Object.keys(s.properties)
          .map((key) => `${key}: …`)
          .join(', ')}}`;
      return [s.type].flat().map((type) => typeWords[String(type)] ?? String(type));
    });
    const unique = [...new Set(words)];
    return unique.length < 2 ? unique.join() : `${unique.slice(0, -1).join(', ')} or ${unique.at(-1)}`;
  }
}

/**
 * Turns the issues that zod found in `values` into plain sentences that name the nearest known key or value.
 * @param error from `schema.safeParse(values)`.
 */
export function explainIssues(error: z.ZodError, schema: z.ZodType, values: unknown): Problem[] {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const explainer = new Explainer(json, values);
  return error.issues.flatMap((issue) => explainer.explain(issue, []));
}
