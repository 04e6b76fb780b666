import { Environment, Interpreter, parse, Template, tokenize } from '@huggingface/jinja';
import { classes, functions, globals, text, type Value, withFloats } from './python-values.js';

/**
 * Renders Jinja templates with the meaning that Python gives them, where @huggingface/jinja gives them another or none: a template is
 * parsed, the expressions concerned are replaced by calls of the functions below, and the result is interpreted.
 */

type Program = Template['parsed'];
/** A node of a parsed template, or a part of one. */
type Node = Record<string, unknown> & { readonly type?: string };

// The package does not export the classes of its nodes, so they are taken from examples.
const nodeOf = (source: string) => (new Template(`{{ ${source} }}`).parsed.body[0] as unknown as Node)!;
const exampleCall = nodeOf('f(x)');
const exampleName = exampleCall.callee as Node;
const exampleText = nodeOf("'x'");

/** No name of a template can begin so. */
const prefix = '#';

function make(example: Node, fields: object): Node {
  return Object.assign(Object.create(Object.getPrototypeOf(example) as object) as Node, example, fields);
}

function call(name: keyof typeof functions, ...args: readonly unknown[]): Node {
  return make(exampleCall, { callee: make(exampleName, { value: `${prefix}${name}` }), args });
}

const binary: Readonly<Record<string, string>> = {
  '+': 'add',
  '~': 'concat',
  '%': 'remainder',
  '==': 'equal',
  '!=': 'unequal',
};

/** The arguments of a filter by position, where `names` are those that may be given by name. */
function argumentsOf(filter: Node, names: readonly string[]): unknown[] {
  const positional: unknown[] = [];
  for (const one of (filter.args ?? []) as readonly Node[]) {
    const key = (one.key as Node | undefined)?.value as string | undefined;
    if (one.type !== 'KeywordArgumentExpression') positional.push(one);
    else if (names.includes(key!)) positional[names.indexOf(key!)] = one.value;
    else throw new Error(`a filter has no argument '${key}'`);
  }
  return Array.from(positional, (one) => one ?? nodeOf('none'));
}

const filters: Readonly<Record<string, { readonly name: string; readonly names?: readonly string[] }>> = {
  trim: { name: 'strip', names: ['chars'] },
  string: { name: 'str' },
  upper: { name: 'upper' },
  lower: { name: 'lower' },
  capitalize: { name: 'capitalize' },
  sum: { name: 'sum', names: ['attribute', 'start'] },
  wordcount: { name: 'wordcount' },
  tojson: { name: 'tojson', names: ['ensure_ascii', 'indent', 'separators', 'sort_keys'] },
  join: { name: 'join', names: ['d', 'attribute'] },
};

/** The expression that takes the place of `node`, whose parts have been replaced already. */
function replaced(node: Node): Node {
  const callee = node.callee as Node | undefined;
  if (node.type === 'CallExpression' && callee?.type === 'MemberExpression' && callee.computed === false) {
    const { object, property } = callee as { readonly object: Node; readonly property: Node };
    const name = property.value as string;
    const args = node.args as readonly unknown[];
    if (['strip', 'lstrip', 'rstrip', 'capitalize'].includes(name)) return call(name, object, ...args);
    if (name === 'cycle' && (object.args as readonly Node[])[0]!.value === 'loop')
      return call('cycle', nodeOf('loop.index0'), ...args);
  }
  if (node.type === 'MemberExpression') {
    const { value } = node.property as Node;
    const isName = typeof value === 'string' || typeof value === 'number';
    const name = make(exampleText, { value: isName ? `'${value}'` : 'a member' });
    return make(node, { object: call('owner', node.object, name) });
  }
  if (node.type === 'BinaryExpression') {
    const name = binary[(node.operator as Node).value as string];
    if (name !== undefined) return call(name, node.left, node.right);
  }
  if (node.type === 'FilterExpression') {
    const filter = node.filter as Node;
    const found = filters[((filter.callee as Node | undefined) ?? filter).value as string];
    if (found !== undefined) return call(found.name, node.operand, ...argumentsOf(filter, found.names ?? []));
  }
  return node;
}

/** Kinds of nodes that print what they evaluate to, when they stand in a body. `None` and lists print as in Python. */
const printed = /Expression$|Identifier|Literal$|Ternary/;

/** The bodies of loops. */
const loopBodies = new WeakSet<object>();

function rewrite(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(rewrite);
  if (value instanceof Map) return new Map([...value].map(([key, own]) => [rewrite(key), rewrite(own)]));
  if (typeof value !== 'object' || value === null) return value;
  const node = value as Node;
  for (const [key, own] of Object.entries(node)) {
    node[key] = rewrite(own);
    if (key !== 'body' && key !== 'alternate' && key !== 'defaultBlock') continue;
    if (!Array.isArray(own)) continue;
    node[key] = (node[key] as readonly Node[]).map((one) =>
      printed.test(one.type ?? '') && one.type !== 'StringLiteral' ? call('str', one) : one,
    );
  }
  if (node.type === 'For') loopBodies.add(node.body as object);
  return replaced(node);
}

/** A comment; a text in quotes; where an expression or statement begins or ends. */
const marks = /\{#.*?#\}|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\{%\+?|\{\{|\+?%\}|[{}]/gs;

/** `{%+` and `+%}` keep the white space beside them. The parser does not know them; a print of nothing does the same. */
function keepWhiteSpace(source: string): string {
  let result = '';
  let at = 0;
  // What ends the expression or statement around `at`, and the braces that are open in it.
  let end: '%}' | '}}' | undefined;
  let braces = 0;
  for (;;) {
    marks.lastIndex = at;
    const found = marks.exec(source);
    if (found === null) return result + source.slice(at);
    let [mark] = found;
    result += source.slice(at, found.index);
    const isBegin = end === undefined && /^\{[{%]/.test(mark);
    const isText = /^['"]/.test(mark);
    // Outside of expressions a quote is a letter, and inside of them `{{` are two braces.
    if (end === undefined ? isText : /^\{[{%#]/.test(mark)) mark = mark.slice(0, 1);
    at = found.index + mark.length;
    if (isBegin) {
      end = mark === '{{' ? '}}' : '%}';
      braces = 0;
      result += mark === '{%+' ? "{{ '' }}{%" : mark;
      continue;
    }
    if (end === '%}' && mark.endsWith('%}')) {
      end = undefined;
      result += mark === '+%}' ? "%}{{ '' }}" : mark;
      continue;
    }
    if (end !== undefined && mark === '{') braces += 1;
    else if (end === '}}' && mark === '}' && braces === 0 && source[at] === '}') {
      end = undefined;
      at += 1;
      mark = '}}';
    } else if (end !== undefined && mark === '}') braces -= 1;
    result += mark;
  }
}

/** The error with which the interpreter leaves the body of a loop. */
function leavingError(statement: 'break' | 'continue'): unknown {
  const [loop] = new Template(`{% for x in [1] %}{% ${statement} %}{% endfor %}`).parsed.body;
  try {
    const body = (loop as unknown as { readonly body: readonly Program[] }).body;
    return new Interpreter().run(body[0]!);
  } catch (error) {
    return (error as Error).constructor;
  }
}
const [breaks, continues] = [leavingError('break'), leavingError('continue')];

/** An interpreter in which `continue` keeps what the body of the loop has printed before it. */
function interpreterOf(environment: Environment): Interpreter {
  const interpreter = new Interpreter(environment);
  let printed = '';
  // The package throws away what a body has printed when it is left early.
  const evaluateBlock = (statements: readonly Program[], scope: Environment) => {
    let result = '';
    for (const statement of statements) {
      try {
        const value: Value = interpreter.evaluate(statement, scope);
        if (value.type !== 'NullValue' && value.type !== 'UndefinedValue') result += value.toString();
      } catch (error) {
        const kind = (error as Error).constructor;
        if (kind !== breaks && kind !== continues) throw error;
        printed = result + printed;
        if (kind === continues && loopBodies.has(statements)) {
          const all = printed;
          printed = '';
          return text(all);
        }
        if (kind === breaks && printed !== '') {
          throw new Error('a loop that prints before `break` is not supported');
        }
        throw error;
      }
    }
    return text(result);
  };
  return Object.defineProperty(interpreter, 'evaluateBlock', { value: evaluateBlock });
}

/** A parsed chat template. */
export class PythonTemplate {
  readonly #program: Program;

  /** @throws Error if the template cannot be parsed. */
  constructor(source: string) {
    const tokens = tokenize(keepWhiteSpace(source), { lstrip_blocks: true, trim_blocks: true });
    this.#program = rewrite(parse(tokens)) as Program;
  }

  /** @throws Error if the template refuses the variables, or uses what this interpreter does not know. */
  render(variables: Readonly<Record<string, unknown>>): string {
    const environment = new Environment();
    const constants = { false: false, true: true, none: null, False: false, True: true, None: null };
    const raise = (message: string) => {
      throw new Error(message);
    };
    const named = { ...constants, raise_exception: raise, ...variables };
    for (const [name, value] of Object.entries(named)) {
      environment.setVariable(name, withFloats(value, environment.set(name, value)));
    }
    const calls = Object.entries(functions).map(([name, own]) => {
      return [`${prefix}${name}`, (args: readonly Value[]) => own(...args)] as const;
    });
    for (const [name, own] of [...Object.entries(globals), ...calls]) {
      environment.setVariable(name, new classes.function(own));
    }
    return interpreterOf(environment).run(this.#program).value as string;
  }
}
