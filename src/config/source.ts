import { dirname, resolve } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, parse, parseDocument } from 'yaml';
import { ConfigError } from '../core/errors.js';
import { formatPath, isGroup, type KeyPath } from '../core/key-path.js';
import { type Problem, show } from '../core/schema-problems.js';
import { hidden, isSecretKey, withoutCredentials, withoutSecret } from '../core/secrets.js';

/** A setting from the command line: `--set learner.batchSize=64`, `--seed 3`. */
export interface Override {
  /** What the person typed, for messages: `--set learner.batchSize`, `--seed`. */
  readonly label: string;
  readonly path: KeyPath;
  readonly value: unknown;
}

/** A configuration before it is validated: plain values, and where each one came from. */
export interface ConfigSource {
  readonly values: Record<string, unknown>;
  /** The place of a key, for messages: `FILE: operator.alpha (line 3)`, or `--set operator.alpha`. */
  where(path: KeyPath): string;
  /** The line in the file, from 1; undefined if the file has neither the key nor a group around it. */
  lineOf(path: KeyPath): number | undefined;
  /** The folder from which a relative path at this key is resolved: the working directory for the command line's, else the file's. */
  folderOf(path: KeyPath): string;
}

/** The largest text of a configuration, in characters: far more than any needs, and read in a moment. */
const longestText = 1_000_000;
/** The deepest nesting of a configuration's values; no setting needs a tenth of it. */
const deepestNesting = 100;
const tooDeep = `values are nested more than ${deepestNesting} deep, or contain themselves`;
/** The most problems of one configuration that a message lists. */
const mostProblems = 20;

/** @throws Error if `value` is nested too deeply, which a value that contains itself is, too. */
function requireShallow(value: unknown, depth = 0): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > deepestNesting) throw new Error(tooDeep);
  for (const inner of Object.values(value)) requireShallow(inner, depth + 1);
}

/**
 * Parses one `--set` argument: a dotted path, `=`, and a YAML value (`--set policy.hidden=[64, 64]`).
 * @throws ConfigError if there is no `=`, no path, or the value is not YAML.
 */
export function parseOverride(argument: string): Override {
  const at = argument.indexOf('=');
  const keys = (at < 0 ? argument : argument.slice(0, at)).trim();
  if (at < 0 || keys === '' || keys.split('.').some((key) => key === '')) {
    throw new ConfigError({
      where: `--set ${at < 0 ? withoutCredentials(argument) : withoutSecret(argument)}`,
      what: 'it must have the form key=value',
      remedy: 'For example: --set operator.alpha=1',
    });
  }
  const path = keys.split('.').map((key) => (/^\d+$/.test(key) ? Number(key) : key));
  try {
    const value: unknown = parse(argument.slice(at + 1));
    requireShallow(value);
    return { label: `--set ${keys}`, path, value };
  } catch (cause) {
    throw new ConfigError({
      where: `--set ${keys}`,
      what: `the value is not YAML: ${firstLine(cause)}`,
      remedy: 'Put it in quotes if it is text',
      cause,
    });
  }
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error)
    .split('\n')[0]
    .replace(/:$/, '');
}

/** The line of each key in the text, from 1, by formatted path, and what to say of keys that their group has already. */
function keyLines(
  root: Node | null,
  lines: LineCounter,
): { readonly found: Map<string, number>; readonly repeated: readonly string[] } {
  const found = new Map<string, number>();
  /** What is given twice, in one line each. */
  const repeated: string[] = [];
  /** Notes the line of a key or an item. Returns whether it is the first of its path. */
  const note = (path: KeyPath, node: unknown): boolean => {
    const range = (node as Node | null)?.range;
    if (!range) return true;
    const { line } = lines.linePos(range[0]);
    const place = formatPath(path);
    const first = found.get(place);
    if (first === undefined) found.set(place, line);
    else repeated.push(`line ${line}: '${place}' is given twice, first in line ${first}`);
    return first === undefined;
  };
  const visit = (node: unknown, path: KeyPath) => {
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        const inner = [...path, String(isScalar(key) ? key.value : key)];
        if (note(inner, key)) visit(value, inner);
      }
    } else if (isSeq(node)) {
      node.items.forEach((item, i) => {
        note([...path, i], item);
        visit(item, [...path, i]);
      });
    }
  };
  visit(root, []);
  return { found, repeated };
}

/**
 * Parses a configuration's text.
 * @throws ConfigError, with the line, if the text is not YAML, repeats a key, or is anything other than keys with values.
 */
function parseText(
  file: string,
  text: string,
): { values: Record<string, unknown>; lines: Map<string, number> } {
  if (text.length > longestText) {
    throw new ConfigError({
      where: file,
      what: `this is not a configuration: it has ${text.length} characters, and at most ${longestText} are read`,
      remedy: 'See examples/cartpole.yaml',
    });
  }
  const lineCounter = new LineCounter();
  try {
    return parseDocumentText(file, text, lineCounter);
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    // The parser refuses aliases that multiply into too many values, and overflows the stack if values are nested very deeply.
    const what = cause instanceof RangeError ? tooDeep : firstLine(cause);
    throw new ConfigError({ where: file, what, remedy: 'See examples/cartpole.yaml', cause });
  }
}

function parseDocumentText(
  file: string,
  text: string,
  lineCounter: LineCounter,
): { values: Record<string, unknown>; lines: Map<string, number> } {
  // The parser's own search for repeated keys takes minutes for a group of many thousand.
  const document = parseDocument(text, { lineCounter, uniqueKeys: false });
  const problems = document.errors.map((error) => {
    const line = lineCounter.linePos(error.pos[0]).line;
    const what = firstLine(error).replace(/ at line \d+, column \d+$/, '');
    return `${file}: line ${line}: ${what.startsWith('Maximum call stack') ? tooDeep : what}`;
  });
  // What follows an overflow of the parser's stack is noise.
  const overflow = problems.find((problem) => problem.endsWith(tooDeep));
  if (overflow !== undefined) throw new ConfigError({ what: overflow });
  if (problems.length > 0) throw new ConfigError({ what: cutShort(problems).join('\n') });
  const { found, repeated } = keyLines(document.contents, lineCounter);
  if (repeated.length > 0) {
    const lines = repeated.map((what) => `${file}: ${what}`);
    throw new ConfigError({ what: cutShort(lines).join('\n') });
  }
  const values: unknown = document.toJS();
  requireShallow(values);
  if (values !== null && !isGroup(values)) {
    throw new ConfigError({
      where: file,
      what: 'this is not a configuration: the file must contain keys with values',
      remedy: 'See examples/cartpole.yaml',
    });
  }
  return { values: values ?? {}, lines: found };
}

/** Sets `value` at `path`, and creates missing groups. @throws ConfigError if a part of the path has a value without keys. */
function put(values: Record<string, unknown>, { path, value, label }: Override): void {
  let group: Record<string, unknown> | unknown[] = values;
  path.forEach((key, i) => {
    if (key === '__proto__') throw new ConfigError({ where: label, what: `unknown key '${key}'` });
    const isKnown = Array.isArray(group)
      ? typeof key === 'number' && key <= group.length
      : typeof key === 'string' || Object.hasOwn(group, key);
    if (!isKnown && Array.isArray(group)) {
      throw new ConfigError({
        where: label,
        what: `'${formatPath(path.slice(0, i))}' is a list of ${group.length}, and '${key}' is not one of its positions`,
        remedy: `Set the whole list: --set '${formatPath(path.slice(0, i))}=[…]'`,
      });
    }
    const inner = group as Record<string | number, unknown>;
    if (i === path.length - 1) {
      inner[key] = value;
      return;
    }
    const next = inner[key];
    if (next === undefined || next === null) inner[key] = {};
    else if (typeof next !== 'object') {
      throw new ConfigError({
        where: label,
        what: `'${formatPath(path.slice(0, i + 1))}' is ${path.slice(0, i + 1).some((part) => isSecretKey(String(part))) ? hidden : show(next)} and has no keys`,
        remedy: `Replace it: --set '${formatPath(path.slice(0, i + 1))}={…}'`,
      });
    }
    group = inner[key] as Record<string, unknown>;
  });
}

/**
 * Groups with a name that chooses their other settings. Setting another name replaces the whole group, so that the settings of
 * one operator never reach another.
 */
const namedGroups = ['operator', 'feedback'];

function apply(values: Record<string, unknown>, override: Override): void {
  const [group, key] = override.path;
  if (override.path.length === 2 && key === 'name' && namedGroups.includes(String(group))) {
    const present = values[group];
    if (!isGroup(present) || present.name !== override.value) values[group] = { name: override.value };
    return;
  }
  put(values, override);
}

/**
 * Parses a configuration's text and applies the command line's settings to it, in order.
 * @throws ConfigError, with file and line, for text that cannot be parsed and for settings whose path does not exist.
 */
export function readSource(file: string, text: string, overrides: readonly Override[]): ConfigSource {
  const { values, lines } = parseText(file, text);
  for (const override of overrides) apply(values, override);
  const startsWith = (whole: KeyPath, start: KeyPath) =>
    start.every((key, i) => String(key) === String(whole[i]));
  const overrideOf = (path: KeyPath) =>
    overrides.findLast((override) => startsWith(path, override.path)) ??
    // A group that is not in the file was created by the override of a key in it.
    (lines.has(formatPath(path))
      ? undefined
      : overrides.findLast((override) => startsWith(override.path, path)));
  const lineOf = (path: KeyPath) => {
    // A missing key has no line: use the line of the innermost group around it that has one.
    for (let length = path.length; length > 0; length--) {
      const line = lines.get(formatPath(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return undefined;
  };
  const where = (path: KeyPath) => {
    const override = overrideOf(path);
    if (override !== undefined) {
      const isWhole = override.path.length === path.length;
      return isWhole ? override.label : `${override.label}: ${formatPath(path)}`;
    }
    const line = lineOf(path);
    // A group of the file in which the command line has changed a key.
    const changes = path.length === 0 ? [] : overrides.filter((change) => startsWith(change.path, path));
    const notes = [
      ...(line === undefined ? [] : [`line ${line}`]),
      ...new Set(changes.map(({ label }) => `with ${label}`)),
    ];
    return (
      [file, formatPath(path)].filter((part) => part !== '').join(': ') +
      (notes.length === 0 ? '' : ` (${notes.join(', ')})`)
    );
  };
  const folderOf = (path: KeyPath) =>
    overrideOf(path) === undefined ? dirname(resolve(file)) : process.cwd();
  return { values, where, lineOf, folderOf };
}

/** Rejects a configuration. @throws ConfigError with one line per problem, in the order of the file. */
export function refuse(source: ConfigSource, problems: readonly Problem[]): never {
  const lineOf = ({ path }: Problem) => source.lineOf(path) ?? Number.POSITIVE_INFINITY;
  const inOrder = problems.toSorted((a, b) => Math.sign(lineOf(a) - lineOf(b)) || 0);
  const lines = inOrder.map(
    ({ path, what, remedy }) => `${source.where(path)}: ${what}${remedy === undefined ? '' : `. ${remedy}`}`,
  );
  throw new ConfigError({ what: cutShort(lines).join('\n') });
}

/** The first lines, with the number of the others. */
function cutShort(lines: readonly string[]): string[] {
  if (lines.length <= mostProblems) return [...lines];
  return [...lines.slice(0, mostProblems), `and ${lines.length - mostProblems} more problems`];
}
