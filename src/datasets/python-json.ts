import { parse } from 'lossless-json';
import { WholeFloat } from '../core/whole-float.js';

/** Found in every JSON text that has a whole number written as a float, and in few others. */
const maybeWholeFloat = /\d(?:\.0+(?!\d)|[eE])/;
/** The keys below which numbers reach chat templates, and keep how they were written. */
const templateKeys = ['tools', 'tool_calls', 'function_call', 'documents', 'chat_template_kwargs'];

function numberOf(text: string): unknown {
  const value = Number(text);
  return /[.eE]/.test(text) && Number.isInteger(value) ? new WholeFloat(value) : value;
}

const lastOfDuplicates = ({ newValue }: { readonly newValue: unknown }) => newValue;

/**
 * The value of a JSON text, in which whole numbers that are written as floats (1.0, 1e3) are `WholeFloat`s, because Python's json keeps
 * the difference.
 * @throws SyntaxError if it is not JSON.
 */
export function parsePythonJson(text: string): unknown {
  return maybeWholeFloat.test(text)
    ? parse(text, null, { parseNumber: numberOf, onDuplicateKey: lastOfDuplicates })
    : JSON.parse(text);
}

/** `value` with plain numbers in place of `WholeFloat`s, except below `keys`. */
function withPlainNumbers(value: unknown, keys: ReadonlySet<string>): unknown {
  if (value instanceof WholeFloat) return value.value;
  if (Array.isArray(value)) return value.map((own) => withPlainNumbers(own, keys));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, own]) => [key, keys.has(key) ? own : withPlainNumbers(own, keys)]),
  );
}

/**
 * Makes a parser of the JSON text of rows. It parses as `parsePythonJson` does, but numbers that no chat template is given (scores, labels)
 * are plain. It throws a SyntaxError if the text is not JSON.
 * @param columns columns that templates are given, besides those of the usual names.
 */
export function rowJsonParser(columns: readonly string[] = []): (text: string) => unknown {
  const keys = new Set([...templateKeys, ...columns]);
  const quoted = [...keys].map((key) => JSON.stringify(key));
  return (text) =>
    quoted.some((key) => text.includes(key))
      ? withPlainNumbers(parsePythonJson(text), keys)
      : JSON.parse(text);
}
