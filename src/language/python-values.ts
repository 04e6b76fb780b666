import { Environment, Template } from '@huggingface/jinja';
import { WholeFloat } from '../core/whole-float.js';

/**
 * The values of Jinja templates as Python treats them, where @huggingface/jinja treats them otherwise: texts, sums, comparisons, JSON.
 * python-jinja.ts puts these functions in the place of a template's expressions.
 */

type RuntimeValue = ReturnType<Environment['lookupVariable']>;
/** A value while a template is rendered. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
  toString(): string;
}
type Call = (args: readonly Value[]) => Value;

// The package does not export the classes of its values, so they are taken from examples.
const probe = new Environment();
export const classes = {
  function: probe.set('f', () => 0).constructor as new (call: Call) => RuntimeValue,
  string: probe.set('s', '').constructor as new (value: string) => Value,
  boolean: probe.set('b', true).constructor as new (value: boolean) => RuntimeValue,
  integer: probe.set('i', 0).constructor as new (value: number) => Value,
  float: probe.set('x', 0.5).constructor as new (value: number) => Value,
  array: probe.set('a', []).constructor as new (value: readonly Value[]) => Value,
};
const boolean = (value: boolean) => new classes.boolean(value);

/** `converted`, the package's own conversion of `given`, with floats where `given` has `WholeFloat`s. */
export function withFloats(given: unknown, converted: RuntimeValue): RuntimeValue {
  if (given instanceof WholeFloat) return new classes.float(given.value) as RuntimeValue;
  const inner: unknown = converted.value;
  if (Array.isArray(given) && Array.isArray(inner)) {
    for (const [i, own] of given.entries()) inner[i] = withFloats(own, inner[i] as RuntimeValue);
  } else if (typeof given === 'object' && given !== null && inner instanceof Map) {
    for (const [key, own] of Object.entries(given)) {
      const before = inner.get(key) as RuntimeValue | undefined;
      if (before !== undefined) inner.set(key, withFloats(own, before));
    }
  }
  return converted;
}
export const text = (value: string) => new classes.string(value);
const isText = (value: Value | undefined): value is Value & { value: string } =>
  value?.type === 'StringValue';
const isArray = (value: Value | undefined): value is Value & { value: readonly Value[] } =>
  value?.type === 'ArrayValue' || value?.type === 'TupleValue';
const isNumber = (value: Value | undefined): boolean =>
  ['IntegerValue', 'FloatValue', 'BooleanValue'].includes(value?.type ?? '');

function textRepr(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const names: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };
  const escaped = value.replace(/[\\\n\r\t]|\p{Cc}/gu, (one) => {
    return names[one] ?? `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `${quote}${quote === "'" ? escaped.replaceAll("'", "\\'") : escaped}${quote}`;
}

/** Python's text of a number. @throws Error for a whole number that JavaScript cannot hold. */
function numberText({ type, value: given }: Value): string {
  const value = given as number;
  if (type === 'IntegerValue') {
    if (Number.isSafeInteger(value)) return String(value);
    throw new Error(`the number ${value} is too large to be written as it was given`);
  }
  const [digits, exponent] = value.toExponential().split('e') as [string, string];
  const power = Number(exponent);
  if (power < -4 || power >= 16)
    return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
  const plain = Object.is(value, -0) ? '-0' : String(value);
  return plain.includes('.') ? plain : `${plain}.0`;
}
const isPlainNumber = ({ type }: Value) => type === 'IntegerValue' || type === 'FloatValue';

/** Python's `repr` of a value. */
function repr(value: Value): string {
  if (isText(value)) return textRepr(value.value);
  if (value.type === 'NullValue') return 'None';
  if (value.type === 'UndefinedValue') return '';
  if (value.type === 'BooleanValue') return value.value ? 'True' : 'False';
  if (isArray(value)) {
    const inner = value.value.map(repr).join(', ');
    if (value.type === 'ArrayValue') return `[${inner}]`;
    return `(${inner}${value.value.length === 1 ? ',' : ''})`;
  }
  if (value.type === 'ObjectValue') {
    const entries = [...(value.value as Map<string, Value>)];
    return `{${entries.map(([key, own]) => `${textRepr(key)}: ${repr(own)}`).join(', ')}}`;
  }
  if (isPlainNumber(value)) return numberText(value);
  return value.toString();
}

/** Python's `str` of a value, as `{{ value }}` prints it. */
const str = (value: Value): string => (isText(value) ? value.value : repr(value));

const kinds: Readonly<Record<string, string>> = {
  StringValue: 'str',
  NullValue: 'NoneType',
  BooleanValue: 'bool',
  IntegerValue: 'int',
  FloatValue: 'float',
  ArrayValue: 'list',
  TupleValue: 'tuple',
  ObjectValue: 'dict',
};
const kindOf = (value: Value) => kinds[value.type] ?? value.type;

function number(like: Value, value: number): Value {
  return like.type === 'FloatValue' ? new classes.float(value) : new classes.integer(value);
}

function add(left: Value, right: Value): Value {
  if (isText(left) && isText(right)) return text(left.value + right.value);
  if (isArray(left) && isArray(right)) return new classes.array([...left.value, ...right.value]);
  if (isNumber(left) && isNumber(right)) {
    const like = left.type === 'FloatValue' ? left : right;
    return number(like, Number(left.value) + Number(right.value));
  }
  throw new Error(`unsupported operand types for +: '${kindOf(left)}' and '${kindOf(right)}'`);
}

/** Python's `==`, which compares lists and dictionaries by what they hold, and numbers with booleans. */
function equal(left: Value, right: Value): boolean {
  if (isArray(left) && isArray(right)) {
    const other = right.value;
    return left.value.length === other.length && left.value.every((one, i) => equal(one, other[i]!));
  }
  if (left.type === 'ObjectValue' && right.type === 'ObjectValue') {
    const [own, other] = [left.value, right.value] as readonly Map<string, Value>[];
    return (
      own!.size === other!.size &&
      [...own!].every(([key, value]) => other!.has(key) && equal(value, other!.get(key)!))
    );
  }
  if (isNumber(left) && isNumber(right)) return Number(left.value) === Number(right.value);
  return left.type === right.type && left.value === right.value;
}

/** `template % values`, with %s, %r, %d, %i and %%. */
function format(template: string, given: Value): string {
  const values = given.type === 'TupleValue' && isArray(given) ? [...given.value] : [given];
  const result = template.replace(/%(.?)/gs, (all, kind: string) => {
    if (kind === '%') return '%';
    const value = values.shift();
    if (value === undefined) throw new Error('not enough arguments for format string');
    if (kind === 's') return str(value);
    if (kind === 'r') return repr(value);
    if ((kind === 'd' || kind === 'i') && isNumber(value)) return String(Math.trunc(Number(value.value)));
    throw new Error(`the format ${all} is not supported`);
  });
  if (values.length > 0) throw new Error('not all arguments converted during string formatting');
  return result;
}

function remainder(left: Value, right: Value): Value {
  if (isText(left)) return text(format(left.value, right));
  const [a, b] = [Number(left.value), Number(right.value)];
  if (!isNumber(left) || !isNumber(right) || b === 0) {
    throw new Error(`cannot compute ${repr(left)} % ${repr(right)}`);
  }
  return number(left.type === 'FloatValue' ? left : right, a - b * Math.floor(a / b));
}

/** Python takes four control characters and U+0085 for white space, and no byte order mark. */
const isSpace = (one: string) =>
  (/\s/.test(one) && one !== '\ufeff') || ['\x1c', '\x1d', '\x1e', '\x1f', '\x85'].includes(one);

/** `strip`, `lstrip` and `rstrip` of the characters given, or of what Python takes for white space. */
function strip(value: Value, characters: Value | undefined, left: boolean, right: boolean): Value {
  const whole = [...str(value)];
  const given = isText(characters) ? new Set(characters.value) : undefined;
  const goes = (one: string) => given?.has(one) ?? isSpace(one);
  let [start, end] = [0, whole.length];
  while (left && start < end && goes(whole[start]!)) start += 1;
  while (right && end > start && goes(whole[end - 1]!)) end -= 1;
  return text(whole.slice(start, end).join(''));
}

const capitalize = (value: string) => value.slice(0, 1).toUpperCase() + value.slice(1).toLowerCase();

function sum(values: Value, attribute: Value | undefined, start: Value | undefined): Value {
  if (!isArray(values)) throw new Error(`cannot sum ${kindOf(values)}`);
  const parts = isText(attribute)
    ? values.value.map((one) => (one.value as Map<string, Value>).get(attribute.value))
    : values.value;
  return parts.reduce((total: Value, part) => {
    if (part === undefined) throw new Error('cannot sum an attribute that is missing');
    return add(total, part);
  }, start ?? new classes.integer(0));
}

/** The options of `tojson`. */
interface JsonOptions {
  readonly ascii: boolean;
  /** What a level is indented by; undefined: all is on one line. */
  readonly indent?: string;
  readonly between: string;
  readonly afterKey: string;
  readonly sorted: boolean;
}

/** What Python's `json.dumps` writes. */
function jsonText(value: Value, options: JsonOptions, outer = '\n'): string {
  const { ascii, indent, between, afterKey, sorted } = options;
  const textOf = (text: string) => {
    const json = JSON.stringify(text);
    if (!ascii) return json;
    return json.replace(/[\x7f-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
  };
  const inner = indent === undefined ? '' : outer + indent;
  const enclosed = (left: string, parts: readonly string[], right: string) => {
    const end = indent === undefined ? '' : outer;
    return parts.length === 0 ? left + right : left + inner + parts.join(between + inner) + end + right;
  };
  const within = (own: Value) => jsonText(own, options, inner);
  if (isText(value)) return textOf(value.value);
  if (value.type === 'NullValue') return 'null';
  if (value.type === 'BooleanValue') return String(value.value);
  if (isPlainNumber(value)) return numberText(value);
  if (isArray(value)) return enclosed('[', value.value.map(within), ']');
  if (value.type !== 'ObjectValue') throw new Error(`${kindOf(value)} cannot be written as JSON`);
  const entries = [...(value.value as Map<string, Value>)];
  if (sorted) entries.sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = entries.map(([key, own]) => textOf(key) + afterKey + within(own));
  return enclosed('{', parts, '}');
}

/** The arguments have the order of transformers. */
function toJson(value: Value, [ascii, indent, separators, sorted]: readonly (Value | undefined)[]): Value {
  const isGiven = indent !== undefined && indent.type !== 'NullValue';
  const [between, afterKey] = isArray(separators) ? separators.value.map(str) : [];
  const options: JsonOptions = {
    ascii: ascii?.value === true,
    ...(isGiven ? { indent: isText(indent) ? indent.value : ' '.repeat(Number(indent.value)) } : {}),
    between: between ?? (isGiven ? ',' : ', '),
    afterKey: afterKey ?? ': ',
    sorted: sorted?.value === true,
  };
  return text(jsonText(value, options));
}

/** The filter `join`. */
function join(values: Value, separator: Value | undefined, attribute: Value | undefined): Value {
  if (values.type === 'UndefinedValue') return text('');
  const between = separator === undefined || separator.type === 'NullValue' ? '' : str(separator);
  if (isText(values)) return text([...values.value].join(between));
  if (values.type === 'ObjectValue')
    return text([...(values.value as Map<string, Value>).keys()].join(between));
  if (!isArray(values)) throw new Error(`cannot join ${kindOf(values)}`);
  const parts = values.value.map((one) => {
    if (!isText(attribute)) return str(one);
    const own = (one.value as Map<string, Value>).get(attribute.value);
    return own === undefined ? '' : str(own);
  });
  return text(parts.join(between));
}

/** The value whose member `name` is read. @throws Error if it is undefined. */
function owner(value: Value, name: Value): Value {
  if (value.type === 'UndefinedValue') throw new Error(`${str(name)} is read of a value that is undefined`);
  const members = value.value;
  // The package's loops have no depth. It is more than 1 in recursive loops only, which the package refuses.
  if (
    members instanceof Map &&
    members.has('revindex0') &&
    members.has('previtem') &&
    !members.has('depth')
  ) {
    members.set('depth', new classes.integer(1)).set('depth0', new classes.integer(0));
  }
  return value;
}

/** The package's own functions of templates, which it does not export. */
function ownGlobals(): Readonly<Record<'range' | 'strftime_now', Call>> {
  const found: Partial<Record<string, Call>> = {};
  const keep = (name: string, own: Call) => {
    found[name] = own;
  };
  const source = "{{ keep('range', range) }}{{ keep('strftime_now', strftime_now) }}";
  new Template(source).render({ keep });
  return found as Readonly<Record<'range' | 'strftime_now', Call>>;
}
export const globals = ownGlobals();

/** The functions that take the place of expressions; their arguments are the operands. */
export const functions: Readonly<Record<string, (...args: readonly Value[]) => Value>> = {
  str: (value) => text(str(value!)),
  add: (left, right) => add(left!, right!),
  concat: (left, right) => text(str(left!) + str(right!)),
  equal: (left, right) => boolean(equal(left!, right!)),
  unequal: (left, right) => boolean(!equal(left!, right!)),
  remainder: (left, right) => remainder(left!, right!),
  strip: (value, characters) => strip(value!, characters, true, true),
  lstrip: (value, characters) => strip(value!, characters, true, false),
  rstrip: (value, characters) => strip(value!, characters, false, true),
  upper: (value) => text(str(value!).toUpperCase()),
  lower: (value) => text(str(value!).toLowerCase()),
  capitalize: (value) => text(capitalize(str(value!))),
  sum: (values, attribute, start) => sum(values!, attribute, start),
  tojson: (value, ...options) => toJson(value!, options),
  join: (values, separator, attribute) => join(values!, separator, attribute),
  owner: (value, name) => owner(value!, name!),
  wordcount: (value) => new classes.integer(str(value!).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
  cycle: (index, ...values) => values[Number(index!.value) % values.length]!,
};
